//! The libraries that scripts have: cjson, cmsgpack, bit, struct.

use super::scripting_tests::{check, check_errors, eval};
use super::test_support::TestServer;

#[test]
fn cjson_writes_and_reads_as_redis_does() {
    let mut server = TestServer::new();
    check(
        &mut server,
        &[
            (
                "return cjson.encode({1, 2.5, 'a', true, cjson.null})",
                r#""[1,2.5,\"a\",true,null]""#,
            ),
            ("return cjson.encode({})", r#""{}""#),
            (
                "return cjson.encode({a = {b = 1}})",
                r#""{\"a\":{\"b\":1}}""#,
            ),
            ("return cjson.encode({[2] = 1})", r#""[null,1]""#),
            ("return cjson.encode(1e15)", r#""1e+15""#),
            (
                "return cjson.encode('a/b\"\\n\\1')",
                r#""\"a\\/b\\\"\\n\\u0001\"""#,
            ),
            (
                "return cjson.encode(cjson.decode('[1,[],{}]'))",
                r#""[1,{},{}]""#,
            ),
            (
                "return cjson.decode('{\"a\":[1,2,\"x\"]}').a",
                r#"[:1 :2 "x"]"#,
            ),
            (
                "return cjson.decode('\"\\\\u00e9\\\\ud83d\\\\ude00\"')",
                r#""\xc3\xa9\xf0\x9f\x98\x80""#,
            ),
            ("return cjson.decode('null') == cjson.null", ":1"),
            ("return tostring(cjson.decode('[0x10]')[1])", r#""16""#),
            (
                "local set = {cjson.encode_sparse_array(true, 1, 2)} cjson.encode_sparse_array(false, 2, 10) return set",
                "[:1 :1 :2]",
            ),
        ],
    );
    check_errors(
        &mut TestServer::new(),
        &[
            (
                "return cjson.encode({[1] = 1, [100] = 1})",
                "-ERR user_script:1: Cannot serialise table: excessively sparse array",
            ),
            (
                "return cjson.encode(1/0)",
                "-ERR user_script:1: Cannot serialise number: must not be NaN or Inf",
            ),
            (
                "return cjson.encode(print == nil)",
                "-ERR user_script:1: Script attempted to access nonexistent global variable 'print'",
            ),
            (
                "return cjson.encode(pcall)",
                "-ERR user_script:1: Cannot serialise function: type not supported",
            ),
            (
                "cjson.encode_max_depth(50) local t = {} t.t = t return cjson.encode(t)",
                "-ERR user_script:1: Cannot serialise, excessive nesting (51)",
            ),
            (
                "return cjson.decode('[1')",
                "-ERR user_script:1: Expected comma or array end but found T_END at character 3",
            ),
            (
                "return cjson.decode('nul')",
                "-ERR user_script:1: Expected value but found invalid token at character 1",
            ),
            (
                "return cjson.decode('{\"a\" 1}')",
                "-ERR user_script:1: Expected colon but found T_NUMBER at character 6",
            ),
            (
                "return cjson.decode('1 2')",
                "-ERR user_script:1: Expected the end but found T_NUMBER at character 3",
            ),
        ],
    );
}

#[test]
fn message_pack_has_the_shortest_forms() {
    let mut server = TestServer::new();
    for (value, bytes) in [
        ("1", r"\x01"),
        ("-1", r"\xff"),
        ("200", r"\xcc\xc8"),
        ("-200", r"\xd1\xff8"),
        ("70000", r"\xce\x00\x01\x11p"),
        ("2^40", r"\xcf\x00\x00\x01\x00\x00\x00\x00\x00"),
        ("-2^31", r"\xd2\x80\x00\x00\x00"),
        ("1.5", r"\xca?\xc0\x00\x00"),
        ("0.1", r"\xcb?\xb9\x99\x99\x99\x99\x99\x9a"),
        ("'abc'", r"\xa3abc"),
        ("nil", r"\xc0"),
        ("true", r"\xc3"),
        ("{1, 2}", r"\x92\x01\x02"),
        ("{a = 1}", r"\x81\xa1a\x01"),
        ("{}", r"\x90"),
    ] {
        let packed = eval(&mut server, &format!("return cmsgpack.pack({value})"));
        assert_eq!(packed, format!("\"{bytes}\""), "{value}");
        let back = format!(
            "local v = {value} local u = cmsgpack.unpack(cmsgpack.pack(v)) \
             return type(v) == 'table' or u == v"
        );
        assert_eq!(eval(&mut server, &back), ":1", "{value}");
    }
    check(
        &mut server,
        &[
            (
                "return {cmsgpack.unpack(cmsgpack.pack(1, 'a', {5}))}",
                r#"[:1 "a" [:5]]"#,
            ),
            (
                "return {cmsgpack.unpack_one(cmsgpack.pack(7, 8))}",
                "[:1 :7]",
            ),
            (
                "return {cmsgpack.unpack_one(cmsgpack.pack(7, 8), 1)}",
                "[:-1 :8]",
            ),
            (
                "return {cmsgpack.unpack_limit(cmsgpack.pack(7, 8, 9), 2)}",
                "[:2 :7 :8]",
            ),
            (
                "return {cmsgpack.unpack_limit(cmsgpack.pack(7, 8, 9), 0)}",
                "[:7 :8 :9]",
            ),
            (
                "return {cmsgpack.unpack_limit(cmsgpack.pack(7, 8, 9), '1', 2)}",
                "[:-1 :9]",
            ),
            ("return {cmsgpack.unpack_limit('', 5)}", "[:-1]"),
            ("return {cmsgpack.unpack('')}", "[]"),
            ("return {cmsgpack.unpack(12)}", "[:49 :50]"),
            (
                "local v = {} for n = 1, 7000 do v[n] = n end local u = {cmsgpack.unpack(cmsgpack.pack(unpack(v)))} \
                 return {#u, u[1], u[7000]}",
                "[:7000 :1 :7000]",
            ),
            (
                "local m = cmsgpack.unpack(string.char(0xdf, 0, 0, 0, 2, 0xa1, 97, 0xc0, 0xc3, 0x91, 5)) \
                 return {m.a == nil, m[true][1]}",
                "[:1 :5]",
            ),
        ],
    );
    check_errors(
        &mut server,
        &[
            (
                "return cmsgpack.unpack(string.rep('a', 20000))",
                "-ERR user_script:1: too many return values at once; use unpack_one or unpack_limit instead.",
            ),
            (
                "return cmsgpack.unpack(string.char(0xdd, 0xff, 0xff, 0xff, 0xff))",
                "-ERR user_script:1: Missing bytes in input.",
            ),
            (
                "return cmsgpack.unpack(string.rep(string.char(0x91), 2000))",
                "-ERR user_script:1: Bad data format in input.",
            ),
            (
                "return cmsgpack.unpack(string.char(0x81, 0xc0, 1))",
                "-ERR user_script:1: Bad data format in input.",
            ),
            (
                "return cmsgpack.unpack()",
                "-ERR user_script:1: bad argument #1 to 'unpack' (string expected, got nil)",
            ),
            (
                "return cmsgpack.unpack({})",
                "-ERR user_script:1: bad argument #1 to 'unpack' (string expected, got table)",
            ),
            (
                "return cmsgpack.unpack_one('a', 2)",
                "-ERR user_script:1: Start offset 2 greater than input length 1.",
            ),
            (
                "return cmsgpack.unpack_limit('a')",
                "-ERR user_script:1: bad argument #2 (number expected)",
            ),
            (
                "return cmsgpack.unpack('\\220' .. string.char(0x92))",
                "-ERR user_script:1: Missing bytes in input.",
            ),
            (
                "return cmsgpack.unpack(string.char(0xc1))",
                "-ERR user_script:1: Bad data format in input.",
            ),
        ],
    );
}

#[test]
fn bit_and_struct_compute_as_in_c() {
    let mut server = TestServer::new();
    check(
        &mut server,
        &[
            (
                "return {bit.band(0xff, 0x0f), bit.bor(1, 6), bit.bxor(5, 1), bit.bnot(0)}",
                "[:15 :7 :4 :-1]",
            ),
            (
                "return {bit.lshift(1, 31), bit.rshift(-1, 28), bit.arshift(-8, 1)}",
                "[:-2147483648 :15 :-4]",
            ),
            (
                "return {bit.rol(0x12345678, 12), bit.bswap(0x12345678)}",
                "[:1164411171 :2018915346]",
            ),
            (
                "return {bit.tohex(65535, -4), bit.tohex(255), bit.tobit(0xffffffff)}",
                r#"["FFFF" "000000ff" :-1]"#,
            ),
            (
                "return struct.pack('>I2<I2b', 258, 258, -1)",
                r#""\x01\x02\x02\x01\xff""#,
            ),
            (
                "return {struct.unpack('>I2i1sc2', struct.pack('>I2i1sc2', 300, -5, 'ab', 'xyz'))}",
                r#"[:300 :-5 "ab" "xy" :9]"#,
            ),
            (
                "return {struct.unpack('>fd', struct.pack('>fd', 1.5, 2))}",
                "[:1 :2 :13]",
            ),
            (
                "return {struct.size('!4bi'), struct.unpack('I1c0', '\\3abc')}",
                r#"[:8 "abc" :5]"#,
            ),
        ],
    );
    check_errors(
        &mut server,
        &[
            (
                "return struct.pack('y', 1)",
                "-ERR user_script:1: bad argument #1 to 'pack' (invalid format option 'y')",
            ),
            (
                "return struct.unpack('I4', 'a')",
                "-ERR user_script:1: bad argument #2 to 'unpack' (data string too short)",
            ),
            (
                "return struct.size('I100')",
                "-ERR user_script:1: integral size 100 is larger than limit of 32",
            ),
        ],
    );
}
