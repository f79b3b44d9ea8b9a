//! Command lines for corners that the documentation of arguments does not lead to: texts that look like HyperLogLogs, scores that
//! are no places, elements that are nearly numbers, streams with groups, scripts.
//!
//! A word in angle brackets stands for a value: [`placeholder`] lists them. All other words are sent as they are.

use super::grammar::Request;
use super::random::Random;
use super::values;

/// Lines by the group whose histories they are drawn in; those of `""` belong to all.
const LINES: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "PING",
            "PING <text>",
            "ECHO <text>",
            "PUBLISH <text> <text>",
            "PUBSUB NUMPAT",
            "OBJECT ENCODING <key>",
            "OBJECT REFCOUNT <key>",
            "TIER DEMOTE ALL",
            "DEL <key>",
            "TYPE <key>",
            "SELECT <db>",
            "HELLO 2",
            "HELLO 3",
            "RESET",
            "RESTORE <key> <integer> <text>",
            "<container> HELP",
            "<container> HELP <text>",
            "<container> <text>",
        ],
    ),
    (
        "string",
        &[
            "INCRBYFLOAT <key> <float>",
            "SET <key> <number>",
            "INCRBY <key> <integer>",
            "SETRANGE <key> <offset> <text>",
        ],
    ),
    (
        "bitmap",
        &[
            "SET <key> <bytes>",
            "SETBIT <key> <offset> <bit>",
            "SETRANGE <key> <offset> <bytes>",
            "APPEND <key> <bytes>",
            "BITCOUNT <key> <index> <index>",
            "BITCOUNT <key> <index> <index> <unit>",
            "BITPOS <key> <bit>",
            "BITPOS <key> <bit> <index>",
            "BITPOS <key> <bit> <index> <index>",
            "BITPOS <key> <bit> <index> <index> <unit>",
            "BITOP <operation> <key> <key>",
            "BITOP <operation> <key> <key> <key> <key>",
            "BITFIELD <key> SET <type> <offset> <integer>",
            "BITFIELD <key> OVERFLOW <overflow> INCRBY <type> <offset> <integer> GET <type> <offset>",
            "BITFIELD <key> OVERFLOW <overflow> SET <type> <offset> <integer> OVERFLOW <overflow> SET <type> <offset> <integer>",
            "BITFIELD_RO <key> GET <type> <offset> GET <type> <offset>",
            "GETBIT <key> <offset>",
            "GET <key>",
        ],
    ),
    (
        "hyperloglog",
        &[
            "PFADD <key>",
            "PFADD <key> <element> <element> <element>",
            "PFADD <key> <element> <element> <element> <element> <element> <element> <element>",
            "PFCOUNT <key>",
            "PFCOUNT <key> <key>",
            "PFMERGE <key> <key>",
            "PFMERGE <key> <key> <key>",
            "PFDEBUG ENCODING <key>",
            "PFDEBUG DECODE <key>",
            "PFDEBUG TODENSE <key>",
            "PFDEBUG GETREG <key>",
            "SET <key> <hyperloglog>",
            "SET <key> <hyperloglog>",
            "SETRANGE <key> 4 <bytes>",
            "SETRANGE <key> <header> <bytes>",
            "SETRANGE <key> <header> <opcodes>",
            "APPEND <key> <opcodes>",
            "SETBIT <key> <header bit> <bit>",
            "COPY <key> <key> REPLACE",
            "STRLEN <key>",
            "GET <key>",
            "OBJECT ENCODING <key>",
        ],
    ),
    (
        "geo",
        &[
            "GEOADD <key> <longitude> <latitude> <member>",
            "GEOADD <key> <longitude> <latitude> <member> <longitude> <latitude> <member>",
            "ZADD <key> <place score> <member>",
            "ZADD <key> <place score> <member> <place score> <member>",
            "ZINCRBY <key> <place score> <member>",
            "GEOHASH <key> <member> <member>",
            "GEOPOS <key> <member> <member>",
            "GEODIST <key> <member> <member> <length>",
            "GEOSEARCH <key> FROMMEMBER <member> BYRADIUS <radius> <length> ASC WITHDIST WITHHASH WITHCOORD",
            "GEOSEARCH <key> FROMMEMBER <member> BYBOX <radius> <radius> <length> ASC WITHDIST",
            "GEOSEARCH <key> FROMLONLAT <longitude> <latitude> BYBOX <radius> <radius> <length> DESC WITHDIST WITHCOORD",
            "GEOSEARCH <key> FROMLONLAT <longitude> <latitude> BYRADIUS <radius> <length> COUNT <small>",
            "GEOSEARCHSTORE <key> <key> FROMMEMBER <member> BYRADIUS <radius> <length> STOREDIST",
            "GEORADIUS <key> <longitude> <latitude> <radius> <length> STORE <key>",
            "GEORADIUSBYMEMBER <key> <member> <radius> <length> DESC WITHDIST WITHCOORD WITHHASH",
            "ZRANGE <key> 0 -1 WITHSCORES",
        ],
    ),
    (
        "stream",
        &[
            "XADD <key> <id> <text> <text>",
            "XADD <key> <id> <text> <text>",
            "XADD <key> <small>-<small> f v",
            "XADD <key> <rising>-<small> f v",
            "XADD <key> <rising>-<small> f v <text> <text>",
            "XADD <key> <small>-* f v g <text>",
            "XADD <key> NOMKSTREAM MAXLEN <trim> <integer> <id> f v",
            "XADD <key> MINID <trim> <id> LIMIT <integer> <id> f v",
            "XADD <key> 18446744073709551615-<last> f v",
            "XADD <key> 18446744073709551614-<last> f v",
            "XDEL <key> <id> <id>",
            "XTRIM <key> MAXLEN <trim> <integer>",
            "XTRIM <key> MAXLEN <trim> <integer> LIMIT <integer>",
            "XTRIM <key> MINID <trim> <id>",
            "XTRIM <key> MINID <trim> <id> LIMIT <integer>",
            "XSETID <key> <id>",
            "XSETID <key> <id> ENTRIESADDED <integer> MAXDELETEDID <id>",
            "XGROUP CREATE <key> <group> <id>",
            "XGROUP CREATE <key> <group> 0 MKSTREAM",
            "XGROUP CREATE <key> <group> <id> MKSTREAM ENTRIESREAD <integer>",
            "XGROUP SETID <key> <group> <id>",
            "XGROUP SETID <key> <group> <id> ENTRIESREAD <integer>",
            "XGROUP CREATECONSUMER <key> <group> <consumer>",
            "XGROUP DELCONSUMER <key> <group> <consumer>",
            "XGROUP DESTROY <key> <group>",
            "XREAD COUNT <integer> STREAMS <key> <key> <id> <id>",
            "XREAD STREAMS <key> <key> <id>",
            "XREAD COUNT <small> STREAMS <key> 0",
            "XREADGROUP GROUP <group> <consumer> STREAMS <key> >",
            "XREADGROUP GROUP <group> <consumer> COUNT <integer> NOACK STREAMS <key> >",
            "XREADGROUP GROUP <group> <consumer> COUNT <small> STREAMS <key> >",
            "XREADGROUP GROUP <group> <consumer> STREAMS <key> <key> <id> >",
            "XREADGROUP GROUP <group> <consumer> STREAMS <key> <id>",
            "XACK <key> <group> <id> <id>",
            "XCLAIM <key> <group> <consumer> 0 <id> <id> FORCE",
            "XCLAIM <key> <group> <consumer> 0 <id> JUSTID",
            "XCLAIM <key> <group> <consumer> <idle> <id> RETRYCOUNT <integer> FORCE LASTID <id>",
            "XAUTOCLAIM <key> <group> <consumer> 0 <id> COUNT <integer>",
            "XAUTOCLAIM <key> <group> <consumer> 0 0 JUSTID",
            "XAUTOCLAIM <key> <group> <consumer> <idle> <id> COUNT <number>",
            "XAUTOCLAIM <key> <group> <consumer> <idle> <id> JUSTID COUNT <small>",
            "XPENDING <key> <group>",
            "XPENDING <key> <group> - + <integer>",
            "XPENDING <key> <group> <id> <id> <small> <consumer>",
            "XPENDING <key> <group> IDLE <idle> - + 10",
            "XRANGE <key> <id> <id> COUNT <integer>",
            "XREVRANGE <key> <id> <id> COUNT <integer>",
            "XLEN <key>",
            "XINFO STREAM <key>",
            "XINFO STREAM <key> FULL COUNT <integer>",
            "XINFO STREAM <key> FULL COUNT <number>",
            "XINFO STREAM <key> FULL COUNT <small>",
            "XINFO STREAM <key> COUNT <small>",
            "XINFO GROUPS <key>",
            "XINFO CONSUMERS <key> <group>",
        ],
    ),
    (
        "sort",
        &[
            "RPUSH <key> <number> <number> <number>",
            "RPUSH <key> <small> <small> <float>",
            "SADD <key> <number> <number> <small>",
            "ZADD <key> <float> <number> <float> <small>",
            "SET w_<small> <number>",
            "SET w_<member> <number>",
            "HSET h_<small> f <number>",
            "HSET h_<small> f <text> g <float>",
            "SORT <key>",
            "SORT <key> ALPHA",
            "SORT <key> DESC LIMIT <integer> <integer>",
            "SORT <key> ALPHA LIMIT <integer> <integer> STORE <key>",
            "SORT <key> BY nosort",
            "SORT <key> BY nosort LIMIT <integer> <integer> DESC",
            "SORT <key> BY nosort GET # GET w_* STORE <key>",
            "SORT <key> BY <sort pattern> DESC",
            "SORT <key> BY <sort pattern> GET <sort pattern> GET #",
            "SORT <key> BY <sort pattern> BY <sort pattern> ASC STORE <key>",
            "SORT <key> GET <sort pattern> GET <sort pattern>",
            "SORT_RO <key> BY <sort pattern> LIMIT <integer> <integer> GET <sort pattern>",
            "SORT_RO <key> STORE <key>",
        ],
    ),
    (
        "scripts",
        &[
            "EVAL <script> <count of keys> <key> <number> <text>",
            "EVAL <script> 1 <key> <number>",
            "EVAL <script> 1 <key> <float>",
            "EVAL <script> 2 <key> <key> <text> <text>",
            "EVAL_RO <script> 1 <key> <number>",
            "EVALSHA <text> 0",
            "FUNCTION LOAD <library>",
            "FUNCTION LOAD REPLACE <library>",
            "FCALL <function> 1 <key> <number>",
            "FCALL <function> <count of keys> <key> <text>",
            "FCALL_RO <function> 1 <key> <text>",
        ],
    ),
];

/// What a history of a group may begin with.
const PRELUDES: &[(&str, &[&str])] = &[
    (
        "stream",
        &[
            "XADD x 1-1 f v",
            "XADD x 2-0 f v",
            "XADD x 3-3 f v g w",
            "XADD x 5-5 f <text>",
            "XGROUP CREATE x g 0",
            "XGROUP CREATE x h 2-0",
            "XREADGROUP GROUP g first COUNT 2 STREAMS x >",
            "XREADGROUP GROUP g second COUNT 1 STREAMS x >",
            "XREADGROUP GROUP h first STREAMS x >",
            "XADD y 5-5 f v",
            "XGROUP CREATE y g $ ENTRIESREAD 0",
        ],
    ),
    (
        "sort",
        &[
            "SET w_1 3",
            "SET w_2 <number>",
            "SET w_3 1",
            "SET w_a 2",
            "HSET h_1 f 5 g b",
            "HSET h_2 f <number> g a",
            "RPUSH a 3 1 2",
            "SADD b 1 2 a",
        ],
    ),
];

/// Scripts. None chooses by chance, or leaves keys in another state when it fails.
const SCRIPTS: &[&str] = &[
    "return ARGV",
    "return {KEYS, #KEYS, #ARGV}",
    "return tonumber(ARGV[1])",
    "return tostring(tonumber(ARGV[1]))",
    "return {1, {2, 'x'}, false, nil, 5}",
    "return {3.99, -3.99, 1e15, true, false}",
    "return redis.call('incrby', KEYS[1], ARGV[1])",
    "return redis.call('get', KEYS[1])",
    "return redis.pcall('append', KEYS[1], ARGV[1])",
    "return redis.call('set', KEYS[1], ARGV[1])",
    "return redis.call('lrange', KEYS[1], 0, -1)",
    "return redis.call('rpush', KEYS[1], unpack(ARGV))",
    "return redis.call('zadd', KEYS[1], ARGV[1], 'm')",
    "return redis.call('zscore', KEYS[1], 'm')",
    "redis.setresp(3) return redis.call('zscore', KEYS[1], 'm')",
    "redis.setresp(3) return {redis.call('get', KEYS[1]), redis.call('type', KEYS[1])}",
    "for i = 1, #KEYS do redis.call('del', KEYS[i]) end return #KEYS",
    "local n = 0 for i = 1, 20 do n = n + redis.call('incr', KEYS[1]) end return n",
    "return redis.sha1hex(ARGV[1])",
    "return cjson.encode(ARGV)",
    "return cjson.encode(tonumber(ARGV[1]))",
    "return cjson.decode('[1, 2.5, \"x\", null, {\"a\": [true]}]')",
    "return cmsgpack.pack(ARGV)",
    "return cmsgpack.unpack(cmsgpack.pack(ARGV[1]))",
    "return struct.pack('>I4s', 7, ARGV[1])",
    "return bit.tohex(tonumber(ARGV[1]) or 0)",
    "return redis.status_reply(ARGV[1])",
    "return redis.error_reply(ARGV[1])",
    "return {ok = ARGV[1]}",
    "return {err = ARGV[1]}",
    "return {double = tonumber(ARGV[1])}",
    "return {map = {a = ARGV[1]}}",
    "return {set = {[ARGV[1]] = true}}",
    "return {big_number = ARGV[1]}",
    "return {verbatim_string = {string = ARGV[1], format = 'txt'}}",
    "return string.format('%q %5.2f %d', ARGV[1], 1.005, 7)",
    "return redis.pcall('nosuch', ARGV[1])",
    "return redis.pcall('get')",
    "return redis.call('nosuch', ARGV[1])",
    "return redis.pcall()",
    "return nosuch",
    "error(ARGV[1])",
    "error({err = tostring(ARGV[1])})",
    "return (",
    "",
];

/// Libraries of functions, the last two not fit to be loaded.
const LIBRARIES: &[&str] = &[
    "#!lua name=one\nredis.register_function('show', function(keys, arguments) return {keys, arguments} end)",
    "#!lua name=one\nredis.register_function('add', function(keys, arguments) return redis.call('incrby', keys[1], arguments[1]) end)",
    "#!lua name=two\nredis.register_function{function_name='show', callback=function(keys) return redis.call('get', keys[1]) end, flags={'no-writes'}}",
    "#!lua name=two\nredis.register_function{function_name='put', callback=function(keys, arguments) return redis.call('set', keys[1], arguments[1]) end, flags={'no-writes'}}",
    "#!lua name=three\nreturn 1",
    "no library",
];

/// Commands with subcommands. Those of MODULE, CLUSTER and DEBUG are not all here.
const CONTAINERS: &[&str] = &[
    "ACL", "CLIENT", "COMMAND", "CONFIG", "FUNCTION", "LATENCY", "MEMORY", "OBJECT", "PUBSUB",
    "SCRIPT", "SLOWLOG", "XGROUP", "XINFO",
];

/// What runs a command line that is its arguments.
const CALLERS: &[&str] = &[
    "return redis.pcall(unpack(ARGV))",
    "redis.setresp(3) return redis.pcall(unpack(ARGV))",
];

/// Texts that `strtod` reads in ways that are easily overlooked, and others.
const NUMBERS: &[&str] = &[
    "1",
    "2",
    "10",
    "-1",
    "1.5",
    "-0",
    "0",
    "+3",
    " 4",
    "4 ",
    "\t5",
    "",
    " ",
    "0x10",
    "0x1p3",
    "1e3",
    "1e400",
    "1e-400",
    "inf",
    "-inf",
    "infinity",
    "INF",
    "nan",
    "-nan",
    "nan(1)",
    "1_0",
    "1.",
    ".5",
    ".",
    "-",
    "+",
    "1e",
    "1e+",
    "0x",
    "1\x00",
    "\x00",
    "1\x002",
    "9223372036854775807",
    "9007199254740993",
    "a",
    "abc",
    "1,5",
    "1d",
    "1f",
    "３",
];
const OPCODES: &[&[u8]] = &[
    b"\x00",
    b"\x3f",
    b"\x7f\xff",
    b"\x40\x00",
    b"\x7f",
    b"\x40",
    b"\x80",
    b"\x83",
    b"\xff",
    b"\xfc",
    b"\x84\x84",
    b"\x87\x87\x80",
    b"a",
    b"\x00\x00\x00\x00",
    b"\x60\x00\x5f\xfe\x80",
    b"\x5f\xff\x5f\xfb\x83",
];
const BYTES: &[&[u8]] = &[
    b"\x00",
    b"\x01",
    b"\x02",
    b"\xff",
    b"\x00\x00",
    b"\xff\xff\xff",
    b"\x0f\xf0",
    b"\x80",
    b"\x7f\xff\x00\x01",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x10",
    b"foobar",
    b"",
];
const HYPERLOGLOGS: &[&[u8]] = &[
    b"HYLL\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80\x7f\xff",
    b"HYLL\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x7f\xff",
    b"HYLL\x01\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\x7f\x7f\xff",
    b"HYLL\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80",
    b"HYLL\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
    b"HYLL\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80\x7f\xfe\xff",
    b"HYLL\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80\x7f\xfb\xff\x83\x80",
    b"HYLL\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80\x7f\xff\xff",
    b"HYLL\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80\x5f\xff\x83\x5f\xfb",
    b"HYLL\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80\x7f\xff",
    b"HYLL\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80\x7f\xff",
    b"HYLX\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80\x7f\xff",
    b"HYLL",
    b"",
    b"12345",
];
/// Scores on the map, on its edge and beyond.
const PLACE_SCORES: &[&str] = &[
    "3479099956230698",
    "3479447370796909",
    "1791875672666387",
    "0",
    "1",
    "-1",
    "-0",
    "0.5",
    "4503599627370495",
    "4503599627370496",
    "4503599627370497",
    "9007199254740991",
    "9007199254740993",
    "18014398509481984",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "-4503599627370496",
    "-9223372036854775808",
    "-1e19",
    "1e20",
    "1e308",
    "-1e308",
    "inf",
    "-inf",
    "2251799813685248.5",
    "abc",
];

fn one_of(random: &mut Random, texts: &[&str]) -> Vec<u8> {
    random.pick(texts).as_bytes().to_vec()
}

/// The value for a word in angle brackets.
fn placeholder(random: &mut Random, group: &str, name: &str) -> Vec<u8> {
    match name {
        "key" => values::key(random, group),
        "text" => values::text(random),
        "integer" => values::value(random, "", "", "integer"),
        "float" => values::value(random, "", "", "double"),
        "number" => one_of(random, NUMBERS),
        "small" => one_of(random, &["1", "2", "3", "5", "7"]),
        "rising" => (6 + random.below(100)).to_string().into_bytes(),
        "bytes" => random.pick(BYTES).to_vec(),
        "offset" => values::value(random, "SETBIT", "offset", "integer"),
        "idle" => values::value(random, "", "min-idle-time", "integer"),
        "db" => values::value(random, "", "db", "integer"),
        "bit" => values::value(random, "SETBIT", "value", "integer"),
        "index" if random.percent(8) => values::value(random, "", "", "integer"),
        "index" => (random.below(50) as i64 - 25).to_string().into_bytes(),
        "unit" => one_of(random, &["BIT", "BYTE", "bit", "BITS"]),
        "operation" => one_of(random, &["AND", "OR", "XOR", "NOT", "not"]),
        "type" => one_of(
            random,
            &[
                "u1", "i1", "u8", "i8", "u63", "i64", "u64", "i65", "u0", "i0", "i63", "u32", "i5",
                "u7", "U8", "u08", "u-1", "u", "x8",
            ],
        ),
        "overflow" => one_of(random, &["WRAP", "SAT", "FAIL", "wrap", "NONE"]),
        "element" => random.below(400).to_string().into_bytes(),
        "hyperloglog" => random.pick(HYPERLOGLOGS).to_vec(),
        "opcodes" => random.pick(OPCODES).to_vec(),
        "header" => random.below(40).to_string().into_bytes(),
        "header bit" => (24 + random.below(200)).to_string().into_bytes(),
        "member" => one_of(random, &["a", "b", "c", "d", "e"]),
        "longitude" => values::value(random, "GEOADD", "longitude", "double"),
        "latitude" => values::value(random, "GEOADD", "latitude", "double"),
        "radius" => values::value(random, "GEOSEARCH", "radius", "double"),
        "length" => one_of(random, &["m", "km", "ft", "mi", "M"]),
        "place score" => one_of(random, PLACE_SCORES),
        "id" if random.percent(50) => {
            one_of(random, &["1-1", "2-0", "3-3", "5-5", "0", "5", "7-1", "99"])
        }
        "id" => values::value(random, "XRANGE", "start", "string"),
        "trim" => one_of(random, &["~", "=", "~"]),
        "last" => one_of(
            random,
            &[
                "18446744073709551615",
                "18446744073709551614",
                "0",
                "*",
                "18446744073709551616",
            ],
        ),
        "group" => values::value(random, "", "group", "string"),
        "consumer" => values::value(random, "", "consumer", "string"),
        "sort pattern" => one_of(
            random,
            &[
                "w_*", "h_*->f", "h_*->g", "h_*->", "*", "#", "nosort", "", "w_**", "*->f",
                "h_*->*", "w_*\x00",
            ],
        ),
        "container" => one_of(random, CONTAINERS),
        "script" => one_of(random, SCRIPTS),
        "library" => one_of(random, LIBRARIES),
        "function" => one_of(random, &["show", "add", "put", "none", ""]),
        "count of keys" => one_of(
            random,
            &[
                "0",
                "1",
                "2",
                "3",
                "4",
                "-1",
                "abc",
                "",
                "99999999999999999999",
            ],
        ),
        other => panic!("no placeholder is called {other}"),
    }
}

/// Puts values into a line.
fn fill(random: &mut Random, group: &str, line: &str) -> Request {
    let mut request = vec![Vec::new()];
    let mut rest = line;
    while let Some(end) = rest.find([' ', '<']) {
        let word = request.last_mut().expect("never empty");
        word.extend_from_slice(&rest.as_bytes()[..end]);
        if rest.as_bytes()[end] == b' ' {
            request.push(Vec::new());
            rest = &rest[end + 1..];
        } else {
            let close = rest.find('>').expect("a placeholder ends");
            word.extend(placeholder(random, group, &rest[end + 1..close]));
            rest = &rest[close + 1..];
        }
    }
    request
        .last_mut()
        .expect("never empty")
        .extend_from_slice(rest.as_bytes());
    request
}

/// A line of a group, if there are lines of this group.
pub fn line(random: &mut Random, group: &str) -> Option<Request> {
    let (_, lines) = LINES.iter().find(|(known, _)| *known == group)?;
    let line = random.pick(lines);
    Some(fill(random, group, line))
}

/// The lines that a history of a group may begin with.
pub fn prelude(random: &mut Random, group: &str) -> Vec<Request> {
    let lines = PRELUDES.iter().find(|(known, _)| *known == group);
    let lines = lines.map_or(&[][..], |(_, lines)| lines).iter();
    lines.map(|line| fill(random, group, line)).collect()
}

/// A command line that a script runs.
pub fn called(random: &mut Random, mut request: Request) -> Request {
    // 7.2 has more fields there, and Lua another order of them.
    let is_ordered = request[0].eq_ignore_ascii_case(b"xinfo");
    let callers = if is_ordered { &CALLERS[..1] } else { CALLERS };
    let caller = random.pick(callers).as_bytes();
    let mut line = vec![b"EVAL".to_vec(), caller.to_vec(), b"0".to_vec()];
    line.append(&mut request);
    line
}

/// The command line that a request amounts to: for a script that only calls a command, that command.
pub fn effective(request: &Request) -> &[Vec<u8>] {
    let is_caller = request.len() > 3
        && request[0] == b"EVAL"
        && CALLERS.iter().any(|caller| caller.as_bytes() == request[1]);
    &request[if is_caller { 3 } else { 0 }..]
}

/// Groups that only have lines of this file.
pub const GROUPS: &[(&str, usize)] = &[("sort", 4), ("scripts", 3)];
