//! Places: GEOADD, GEOPOS, GEOHASH, GEODIST. A place is a member of a sorted set; its score is a cell of 52 bits (`geo_cells`).
//!
//! Searches are in `geo_search`.

use super::context::Context;
use super::geo_cells::{Cell, LATITUDE_MAX, LONGITUDE_MAX, Place, STEPS_MAX, geohash};
use super::geo_shapes::distance_metres;
use super::options::{double, is_keyword};
use super::sorted_sets::zadd;
use super::spec::{CommandSpec, Flags, Group, KeySpec};
use crate::error::{CommandError, CommandResult};
use crate::resp::{Protocol, Reply};

/// Reads a longitude and a latitude.
pub(super) fn place(longitude: &[u8], latitude: &[u8]) -> Result<Place, CommandError> {
    let (longitude, latitude) = (double(longitude)?, double(latitude)?);
    if longitude.abs() > LONGITUDE_MAX || latitude.abs() > LATITUDE_MAX {
        return Err(CommandError::new(format!(
            "ERR invalid longitude,latitude pair {longitude:.6},{latitude:.6}"
        )));
    }
    Ok(Place {
        longitude,
        latitude,
    })
}

/// Metres in a unit.
pub(super) fn unit_metres(word: &[u8]) -> Result<f64, CommandError> {
    const UNITS: [(&str, f64); 4] = [("m", 1.0), ("km", 1000.0), ("ft", 0.3048), ("mi", 1609.34)];
    const NOT_A_UNIT: CommandError =
        CommandError::fixed("ERR unsupported unit provided. please use M, KM, FT, MI");
    UNITS
        .iter()
        .find(|(name, _)| is_keyword(word, name))
        .map(|(_, metres)| *metres)
        .ok_or(NOT_A_UNIT)
}

/// Writes a distance with four decimals, rounded as Redis rounds: half a unit to the even side.
pub(super) fn write_distance(reply: &mut Reply<'_>, distance: f64) {
    const DECIMALS: f64 = 10_000.0;
    let rounded = (distance * DECIMALS).round_ties_even() as i64;
    let (whole, fraction) = (
        rounded.unsigned_abs() / 10_000,
        rounded.unsigned_abs() % 10_000,
    );
    let sign = if rounded < 0 { "-" } else { "" };
    reply.bulk(format!("{sign}{whole}.{fraction:04}").as_bytes());
}

/// Writes a place as an array of two numbers with up to 17 decimals.
pub(super) fn write_place(reply: &mut Reply<'_>, place: Place) {
    reply.array_header(2);
    for coordinate in [place.longitude, place.latitude] {
        let text = format!("{coordinate:.17}");
        let text = text.trim_end_matches('0').trim_end_matches('.');
        let text = if text == "-0" { "0" } else { text };
        match reply.protocol() {
            Protocol::Resp2 => reply.bulk(text.as_bytes()),
            Protocol::Resp3 => reply.raw(format!(",{text}\r\n").as_bytes()),
        }
    }
}

/// `GEOADD key [NX|XX] [CH] longitude latitude member [longitude latitude member ...]`: ZADD of the places' scores.
fn geoadd(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let is_option = |word: &&[u8]| {
        ["nx", "xx", "ch"]
            .iter()
            .any(|known| is_keyword(word, known))
    };
    let options = arguments[2..].iter().take_while(|word| is_option(word));
    let (head, members) = arguments.split_at(2 + options.count());
    let has = |option| head[2..].iter().any(|word| is_keyword(word, option));
    let (members, rest) = members.as_chunks::<3>();
    if !rest.is_empty() || has("nx") && has("xx") {
        return Err(CommandError::SYNTAX);
    }
    let scores: Vec<String> = members
        .iter()
        .map(|[longitude, latitude, _]| {
            let cell = Cell::of(place(longitude, latitude)?, STEPS_MAX);
            Ok(cell.score().to_string())
        })
        .collect::<Result<_, CommandError>>()?;
    let pairs = scores
        .iter()
        .zip(members)
        .flat_map(|(score, [_, _, member])| [score.as_bytes(), *member]);
    let line: Vec<&[u8]> = head.iter().copied().chain(pairs).collect();
    zadd(context, &line, reply)
}

/// Writes something for each member, or what stands for its absence.
fn for_members(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
    write: fn(&mut Reply<'_>, Option<Place>),
) -> CommandResult {
    let members = context.keys.sorted_set(arguments[1])?;
    reply.array_header(arguments.len() - 2);
    for member in &arguments[2..] {
        let score = members.and_then(|members| members.score(member));
        write(reply, score.map(|score| Cell::of_score(score).place()));
    }
    Ok(())
}

/// `GEOPOS key [member ...]`
fn geopos(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    for_members(context, arguments, reply, |reply, place| match place {
        Some(place) => write_place(reply, place),
        None => reply.null_array(),
    })
}

/// `GEOHASH key [member ...]`
fn geohash_command(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    for_members(context, arguments, reply, |reply, place| {
        let text = place.map(geohash);
        reply.bulk_or_null(text.as_ref().map(<[u8; 11]>::as_slice));
    })
}

/// GEODIST key member1 member2 [M|KM|FT|MI]
fn geodist(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let unit = match arguments[4..] {
        [] => 1.0,
        [unit] => unit_metres(unit)?,
        _ => return Err(CommandError::SYNTAX),
    };
    let places = context.keys.sorted_set(arguments[1])?.and_then(|members| {
        let place = |member| Some(Cell::of_score(members.score(member)?).place());
        Some((place(arguments[2])?, place(arguments[3])?))
    });
    match places {
        Some((first, second)) => write_distance(reply, distance_metres(first, second) / unit),
        None => reply.null(),
    }
    Ok(())
}

/// The rows of this file.
pub const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        since: "3.2.0",
        complexity: "O(log(N)) for each member, N being those in the index",
        summary: "Puts members at their longitude and latitude, or moves them there.",
        ..CommandSpec::new(
            "geoadd",
            -5,
            Flags::WRITE.and(Flags::DENYOOM),
            KeySpec::FIRST,
            Group::Geo,
            geoadd,
        )
    }
    .with_syntax(
        "key condition[NX | XX]@6.2.0 [change=CH]@6.2.0 \
         data<longitude:double latitude:double member>...",
    ),
    CommandSpec {
        since: "3.2.0",
        complexity: "O(N) for N members",
        summary: "Tells the longitude and latitude of members.",
        ..CommandSpec::new(
            "geopos",
            -2,
            Flags::READONLY,
            KeySpec::FIRST,
            Group::Geo,
            geopos,
        )
    }
    .with_syntax("key [member...]"),
    CommandSpec {
        since: "3.2.0",
        complexity: "O(N) for N members",
        summary: "Tells where members are, as geohash texts.",
        ..CommandSpec::new(
            "geohash",
            -2,
            Flags::READONLY,
            KeySpec::FIRST,
            Group::Geo,
            geohash_command,
        )
    }
    .with_syntax("key [member...]"),
    CommandSpec {
        since: "3.2.0",
        summary: "Tells how far apart two members are.",
        ..CommandSpec::new(
            "geodist",
            -4,
            Flags::READONLY,
            KeySpec::FIRST,
            Group::Geo,
            geodist,
        )
    }
    .with_syntax("key member1 member2 unit[M | KM | FT | MI]"),
];

#[cfg(test)]
mod tests {
    use crate::commands::test_support::TestServer;

    #[test]
    fn places_are_members_of_a_sorted_set() {
        let mut server = TestServer::new();
        server.check_all(&[
            (
                "GEOADD s 13.361389 38.115556 Palermo 15.087269 37.502669 Catania",
                ":2",
            ),
            ("ZSCORE s Palermo", "\"3479099956230698\""),
            ("GEODIST s Palermo Catania", "\"166274.1516\""),
            ("GEODIST s Palermo Catania KM", "\"166.2742\""),
            ("GEODIST s Palermo Palermo mi", "\"0.0000\""),
            ("GEODIST s Palermo none", "nil"),
            ("GEODIST none a b", "nil"),
            (
                "GEODIST s Palermo Catania yards",
                "-ERR unsupported unit provided. please use M, KM, FT, MI",
            ),
            ("GEODIST s a b m m", "-ERR syntax error"),
            (
                "GEOHASH s Palermo none Catania",
                "[\"sqc8b49rny0\" nil \"sqdtr74hyu0\"]",
            ),
            (
                "GEOPOS s Palermo",
                "[[\"13.36138933897018433\" \"38.11555639549629859\"]]",
            ),
            ("GEOPOS none a", "[nil-array]"),
            ("GEOPOS s", "[]"),
            ("GEOADD s XX CH 13.5 38 Palermo 1 1 other", ":1"),
            ("GEOADD s NX 13.6 38 Palermo 1 1 other", ":1"),
            ("GEOADD s NX XX 1 1 a", "-ERR syntax error"),
            ("GEOADD s 1 1 a 2 2", "-ERR syntax error"),
            (
                "GEOADD s 181 1.5 a",
                "-ERR invalid longitude,latitude pair 181.000000,1.500000",
            ),
            ("GEOADD s x 1 a", "-ERR value is not a valid float"),
            ("SET t text", "+OK"),
            (
                "GEOPOS t a",
                "-WRONGTYPE Operation against a key holding the wrong kind of value",
            ),
        ]);
    }

    #[test]
    fn scores_that_are_no_places() {
        TestServer::new().check_all(&[
            (
                "ZADD z -1 minus 4503599627370496 edge 9007199254740993 beyond 1e20 far inf inf 0.9 zero",
                ":6",
            ),
            (
                "GEOHASH z minus edge beyond far inf zero",
                "[\"bp05b5048p0\" \"bp05b5048p0\" \"00bh0hbj200\" \"00bh0hbj200\" \"00bh0hbj200\" \"00bh0hbj200\"]",
            ),
            ("GEODIST z far inf", "\"0.0000\""),
            ("GEORADIUSBYMEMBER z beyond 1000 FT DESC", "[\"beyond\"]"),
            (
                "GEOSEARCH z FROMMEMBER edge BYRADIUS 1 km WITHHASH ASC",
                "[[\"edge\" :4503599627370496]]",
            ),
        ]);
    }

    #[test]
    fn coordinates_are_doubles_in_resp3() {
        let mut server = TestServer::resp3();
        server.run("GEOADD s 13.361389 38.115556 Palermo");
        let reply = server.run_arguments(&[b"GEOPOS", b"s", b"Palermo"]);
        assert_eq!(
            reply.escape_ascii().to_string(),
            "*1\\r\\n*2\\r\\n,13.36138933897018433\\r\\n,38.11555639549629859\\r\\n"
        );
    }
}
