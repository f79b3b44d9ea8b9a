//! Searches for places: GEOSEARCH, GEOSEARCHSTORE, GEORADIUS, GEORADIUSBYMEMBER and their read-only forms.
//!
//! A search looks through the ranges of scores of at most nine cells around its centre (`geo_shapes`). Where results are equally far
//! away and only some are wanted, Redis's partial quicksort may choose others of them.

use super::access::KeyUse;
use super::context::Context;
use super::geo::{place, unit_metres, write_distance, write_place};
use super::geo_cells::{Cell, Place};
use super::geo_shapes::{Extent, Shape};
use super::options::{Options, double, integer, is_keyword};
use super::spec::{CommandSpec, Flags, Group, KeySpec};
use crate::error::{CommandError, CommandResult};
use crate::keyspace::{Deadline, EventClasses};
use crate::resp::Reply;
use crate::resp::number::truncated;
use crate::value::{SortedSet, Value};

/// What the name of a command fixes.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Form {
    centre: CentreForm,
    /// GEORADIUS and GEORADIUSBYMEMBER take STORE and STOREDIST; GEOSEARCHSTORE stores anyway.
    stores: bool,
}

/// How the centre is given.
#[derive(Clone, Copy, PartialEq, Eq)]
enum CentreForm {
    Coordinates,
    Member,
    Options,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Ascending,
    Descending,
}

/// What is wanted.
#[derive(Default)]
struct Query<'a> {
    centre: Option<Place>,
    /// Named but not known, because the key does not exist.
    has_centre: bool,
    /// FROMMEMBER was given.
    by_member: bool,
    extent: Option<(Extent, f64)>,
    with_distance: bool,
    with_hash: bool,
    with_place: bool,
    any: bool,
    count: Option<usize>,
    order: Option<Order>,
    destination: Option<&'a [u8]>,
    stores_distances: bool,
}

/// A place that was found.
struct Found {
    member: Box<[u8]>,
    place: Place,
    score: f64,
    /// In the client's unit.
    distance: f64,
}

/// A number that must not be negative.
fn length(
    argument: &[u8],
    not_a_number: &'static str,
    negative: &'static str,
) -> Result<f64, CommandError> {
    let value = double(argument).map_err(|_| CommandError::fixed(not_a_number))?;
    if value < 0.0 {
        return Err(CommandError::fixed(negative));
    }
    Ok(value)
}

fn radius(radius: &[u8], unit: &[u8]) -> Result<(Extent, f64), CommandError> {
    let radius = length(
        radius,
        "ERR need numeric radius",
        "ERR radius cannot be negative",
    )?;
    Ok((Extent::Radius(radius), unit_metres(unit)?))
}

fn rectangle(width: &[u8], height: &[u8], unit: &[u8]) -> Result<(Extent, f64), CommandError> {
    const NEGATIVE: &str = "ERR height or width cannot be negative";
    let wide = double(width).map_err(|_| CommandError::fixed("ERR need numeric width"))?;
    let high = length(height, "ERR need numeric height", NEGATIVE)?;
    if wide < 0.0 {
        return Err(CommandError::fixed(NEGATIVE));
    }
    Ok((Extent::Box(wide, high), unit_metres(unit)?))
}

fn place_of_member(members: &SortedSet, member: &[u8]) -> Result<Place, CommandError> {
    const NOT_THERE: CommandError =
        CommandError::fixed("ERR could not decode requested zset member");
    let score = members.score(member).ok_or(NOT_THERE)?;
    Ok(Cell::of_score(score).place())
}

impl<'a> Query<'a> {
    /// Reads a command line; `members` is what is searched.
    fn parse(
        arguments: &'a [&'a [u8]],
        form: Form,
        members: Option<&SortedSet>,
    ) -> Result<Query<'a>, CommandError> {
        let mut query = Query::default();
        let first_option = match form.centre {
            CentreForm::Coordinates => {
                query.set_centre(place(arguments[2], arguments[3])?);
                query.extent = Some(radius(arguments[4], arguments[5])?);
                6
            }
            CentreForm::Member => {
                query.has_centre = true;
                if let Some(members) = members {
                    query.set_centre(place_of_member(members, arguments[2])?);
                    query.extent = Some(radius(arguments[3], arguments[4])?);
                }
                5
            }
            CentreForm::Options if form.stores => {
                query.destination = Some(arguments[1]);
                3
            }
            CentreForm::Options => 2,
        };
        let mut options = Options::new(arguments, first_option);
        while let Some(word) = options.next() {
            let is_known = query.read_common(word, &mut options)?
                || match form.centre {
                    CentreForm::Options => query.read_shape(word, &mut options, form, members)?,
                    _ => form.stores && query.read_store(word, &mut options),
                };
            if !is_known {
                return Err(CommandError::SYNTAX);
            }
        }
        query.check(arguments[0], form)?;
        Ok(query)
    }

    fn set_centre(&mut self, centre: Place) {
        (self.centre, self.has_centre) = (Some(centre), true);
    }

    fn read_common(
        &mut self,
        word: &[u8],
        options: &mut Options<'a>,
    ) -> Result<bool, CommandError> {
        match word {
            word if is_keyword(word, "withdist") => self.with_distance = true,
            word if is_keyword(word, "withhash") => self.with_hash = true,
            word if is_keyword(word, "withcoord") => self.with_place = true,
            word if is_keyword(word, "any") => self.any = true,
            word if is_keyword(word, "asc") => self.order = Some(Order::Ascending),
            word if is_keyword(word, "desc") => self.order = Some(Order::Descending),
            word if is_keyword(word, "count") && !options.rest().is_empty() => {
                let count = integer(options.value()?)?;
                if count <= 0 {
                    return Err(CommandError::fixed("ERR COUNT must be > 0"));
                }
                self.count = usize::try_from(count).ok();
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// STORE and STOREDIST of GEORADIUS.
    fn read_store(&mut self, word: &[u8], options: &mut Options<'a>) -> bool {
        let stores_distances = is_keyword(word, "storedist");
        if !stores_distances && !is_keyword(word, "store") {
            return false;
        }
        let Some(destination) = options.next() else {
            return false;
        };
        self.destination = Some(destination);
        self.stores_distances = stores_distances;
        true
    }

    /// The options of GEOSEARCH and GEOSEARCHSTORE.
    fn read_shape(
        &mut self,
        word: &[u8],
        options: &mut Options<'a>,
        form: Form,
        members: Option<&SortedSet>,
    ) -> Result<bool, CommandError> {
        let left = options.rest().len();
        let has_radius = matches!(self.extent, Some((Extent::Radius(_), _)));
        let has_box = matches!(self.extent, Some((Extent::Box(..), _)));
        if is_keyword(word, "storedist") && form.stores {
            self.stores_distances = true;
        } else if is_keyword(word, "frommember") && left >= 1 && self.may_be_member() {
            let member = options.value()?;
            self.has_centre = true;
            self.by_member = true;
            if let Some(members) = members {
                self.set_centre(place_of_member(members, member)?);
            }
        } else if is_keyword(word, "fromlonlat") && left >= 2 && !self.by_member {
            self.set_centre(place(options.value()?, options.value()?)?);
        } else if is_keyword(word, "byradius") && left >= 2 && !has_box {
            self.extent = Some(radius(options.value()?, options.value()?)?);
        } else if is_keyword(word, "bybox") && left >= 3 && !has_radius {
            self.extent = Some(rectangle(
                options.value()?,
                options.value()?,
                options.value()?,
            )?);
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// False once FROMLONLAT was given.
    fn may_be_member(&self) -> bool {
        self.by_member || !self.has_centre
    }

    fn check(&self, name: &[u8], form: Form) -> CommandResult {
        let is_search = form.centre == CentreForm::Options;
        let shows_more = self.with_distance || self.with_hash || self.with_place;
        let name = String::from_utf8_lossy(name);
        let message = if self.destination.is_some() && shows_more {
            let what = if is_search {
                "GEOSEARCHSTORE"
            } else {
                "STORE option in GEORADIUS"
            };
            format!("{what} is not compatible with WITHDIST, WITHHASH and WITHCOORD options")
        } else if is_search && !self.has_centre {
            format!("exactly one of FROMMEMBER or FROMLONLAT can be specified for {name}")
        } else if is_search && self.extent.is_none() {
            format!("exactly one of BYRADIUS and BYBOX can be specified for {name}")
        } else if self.any && self.count.is_none() {
            "the ANY argument requires COUNT argument".to_owned()
        } else {
            return Ok(());
        };
        Err(CommandError::new(format!("ERR {message}")))
    }

    /// The places that fit, as many as are wanted, in the order that is wanted.
    fn find(&self, members: &SortedSet) -> Vec<Found> {
        let (Some(centre), Some((extent, unit_metres))) = (self.centre, self.extent) else {
            return Vec::new();
        };
        let shape = Shape {
            centre,
            extent,
            unit_metres,
        };
        let any_count = self.count.filter(|_| self.any).unwrap_or(usize::MAX);
        let places = shape.cells().into_iter().flat_map(|cell| {
            let start = members.count_below_score(cell.score() as f64, false);
            let end = members.count_below_score(cell.end_score() as f64, false);
            members.range(start, end.saturating_sub(start))
        });
        let found = places.filter_map(|(member, score)| {
            let place = Cell::of_score(score).place();
            let distance = shape.distance_metres(place)?;
            Some((member, place, score, distance))
        });
        let mut found: Vec<_> = found.take(any_count).collect();
        let order = match self.count {
            Some(_) if self.order.is_none() && !self.any => Some(Order::Ascending),
            _ => self.order,
        };
        match order {
            Some(Order::Ascending) => found.sort_by(|left, right| left.3.total_cmp(&right.3)),
            Some(Order::Descending) => found.sort_by(|left, right| right.3.total_cmp(&left.3)),
            None => {}
        }
        found.truncate(self.count.unwrap_or(usize::MAX));
        let owned = |(member, place, score, metres): (&[u8], Place, f64, f64)| Found {
            member: member.into(),
            place,
            score,
            distance: metres / unit_metres,
        };
        found.into_iter().map(owned).collect()
    }

    fn write(&self, found: &[Found], reply: &mut Reply<'_>) {
        let options = [self.with_distance, self.with_hash, self.with_place];
        let extra = options.iter().filter(|with| **with).count();
        reply.array_header(found.len());
        for item in found {
            if extra > 0 {
                reply.array_header(1 + extra);
            }
            reply.bulk(&item.member);
            if self.with_distance {
                write_distance(reply, item.distance);
            }
            if self.with_hash {
                reply.integer(truncated(item.score));
            }
            if self.with_place {
                write_place(reply, item.place);
            }
        }
    }

    fn store(
        &self,
        context: &mut Context<'_>,
        destination: &[u8],
        found: &[Found],
        event: &'static str,
    ) -> CommandResult {
        if found.is_empty() {
            if context.keys.delete(destination)? {
                context
                    .keys
                    .notify(EventClasses::GENERIC, "del", destination);
            }
            return Ok(());
        }
        let mut stored = SortedSet::new();
        for item in found {
            let score = if self.stores_distances {
                item.distance
            } else {
                item.score
            };
            stored.insert(score, &item.member);
        }
        let value = Value::SortedSet(stored);
        context.keys.set_value(destination, value, Deadline::None)?;
        context
            .keys
            .notify(EventClasses::SORTED_SET, event, destination);
        Ok(())
    }
}

fn search(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
    form: Form,
) -> CommandResult {
    let is_search_store = form.centre == CentreForm::Options && form.stores;
    let source = arguments[if is_search_store { 2 } else { 1 }];
    let members = context.keys.sorted_set(source)?;
    let query = Query::parse(arguments, form, members)?;
    let found = members.map_or(Vec::new(), |members| query.find(members));
    match query.destination {
        None => query.write(&found, reply),
        Some(destination) => {
            let event = if is_search_store {
                "geosearchstore"
            } else {
                "georadiusstore"
            };
            query.store(context, destination, &found, event)?;
            reply.count(found.len());
        }
    }
    Ok(())
}

/// `GEOSEARCH key FROMMEMBER member|FROMLONLAT longitude latitude BYRADIUS radius unit|BYBOX width height unit [ASC|DESC]
/// [COUNT count [ANY]] [WITHCOORD] [WITHDIST] [WITHHASH]`
fn geosearch(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    let form = Form {
        centre: CentreForm::Options,
        stores: false,
    };
    search(context, arguments, reply, form)
}

/// `GEOSEARCHSTORE destination source ... [STOREDIST]`, else as GEOSEARCH.
fn geosearchstore(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    let form = Form {
        centre: CentreForm::Options,
        stores: true,
    };
    search(context, arguments, reply, form)
}

/// `GEORADIUS key longitude latitude radius unit [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY]] [ASC|DESC] [STORE key|STOREDIST key]`
fn georadius(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    let form = Form {
        centre: CentreForm::Coordinates,
        stores: true,
    };
    search(context, arguments, reply, form)
}

fn georadius_ro(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    let form = Form {
        centre: CentreForm::Coordinates,
        stores: false,
    };
    search(context, arguments, reply, form)
}

/// `GEORADIUSBYMEMBER key member radius unit ...`, else as GEORADIUS.
fn georadiusbymember(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    let form = Form {
        centre: CentreForm::Member,
        stores: true,
    };
    search(context, arguments, reply, form)
}

fn georadiusbymember_ro(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    let form = Form {
        centre: CentreForm::Member,
        stores: false,
    };
    search(context, arguments, reply, form)
}

/// The key searched, and that behind the last STORE or STOREDIST.
fn radius_keys(arguments: &[&[u8]]) -> Vec<usize> {
    const FIRST_OPTION_MIN: usize = 5;
    let stores = |index: &usize| {
        let word = arguments[index - 1];
        is_keyword(word, "store") || is_keyword(word, "storedist")
    };
    let destinations = (FIRST_OPTION_MIN + 1..arguments.len()).filter(stores);
    std::iter::once(1).chain(destinations).collect()
}

const RADIUS_KEYS: &[KeySpec] = &[KeySpec::Found(radius_keys)];
const RADIUS_COMPLEXITY: &str =
    "O(N+log(M)), N being the members in the box around the circle, M all of them";
const SEARCH_COMPLEXITY: &str =
    "O(N+log(M)), N being the members in the box around the shape, M all of them";
const WRITE: Flags = Flags::WRITE.and(Flags::DENYOOM);

/// The rows of this file.
pub const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        since: "6.2.0",
        complexity: SEARCH_COMPLEXITY,
        summary: "Finds the members within a circle or a box.",
        ..CommandSpec::new(
            "geosearch",
            -7,
            Flags::READONLY,
            KeySpec::FIRST,
            Group::Geo,
            geosearch,
        )
    }
    .with_syntax(
        "key from<FROMMEMBER member | FROMLONLAT longitude:double latitude:double> \
         by<circle<<BYRADIUS radius:double> unit<M | KM | FT | MI>> \
         | box<<BYBOX width:double> height:double unit<M | KM | FT | MI>>> order[ASC | DESC] \
         count-block[<COUNT count:integer> [ANY]] [WITHCOORD] [WITHDIST] [WITHHASH]",
    )
    .with_history(&[("7.0.0", "Units in capitals.")]),
    CommandSpec {
        since: "6.2.0",
        complexity: SEARCH_COMPLEXITY,
        key_uses: &[KeyUse::REPLACE.at(1, 1), KeyUse::READ.at(2, 2)],
        summary: "Finds the members within a circle or a box and keeps them at another key.",
        ..CommandSpec::new(
            "geosearchstore",
            -8,
            WRITE,
            KeySpec::FIRST_TWO,
            Group::Geo,
            geosearchstore,
        )
    }
    .with_syntax(
        "destination:key source:key \
         from<FROMMEMBER member | FROMLONLAT longitude:double latitude:double> \
         by<circle<<BYRADIUS radius:double> unit<M | KM | FT | MI>> \
         | box<<BYBOX width:double> height:double unit<M | KM | FT | MI>>> order[ASC | DESC] \
         count-block[<COUNT count:integer> [ANY]] [STOREDIST]",
    )
    .with_history(&[("7.0.0", "Units in capitals.")]),
    CommandSpec {
        since: "3.2.0",
        complexity: RADIUS_COMPLEXITY,
        key_uses: &[
            KeyUse::READ.at(1, 1),
            KeyUse::REPLACE.after("STORE", 6, 0, 0),
            KeyUse::REPLACE.after("STOREDIST", 6, 0, 0),
        ],
        summary: "Finds the members that are near a place; may keep them at another key.",
        ..CommandSpec::new(
            "georadius",
            -6,
            WRITE.and(Flags::MOVABLE_KEYS),
            RADIUS_KEYS,
            Group::Geo,
            georadius,
        )
    }
    .with_syntax(
        "key longitude:double latitude:double radius:double unit<M | KM | FT | MI> [WITHCOORD] \
         [WITHDIST] [WITHHASH] count-block[<COUNT count:integer> [ANY]@6.2.0] order[ASC | DESC] \
         store[STORE storekey{key}:key | STOREDIST storedistkey{key}:key]",
    )
    .with_deprecated(
        "6.2.0",
        "`GEOSEARCH`, `GEOSEARCHSTORE`: `FROMLONLAT`, `BYRADIUS`",
    )
    .with_history(&[("7.0.0", "Units in capitals.")]),
    CommandSpec {
        since: "3.2.10",
        complexity: RADIUS_COMPLEXITY,
        summary: "Finds the members that are near a place.",
        ..CommandSpec::new(
            "georadius_ro",
            -6,
            Flags::READONLY,
            KeySpec::FIRST,
            Group::Geo,
            georadius_ro,
        )
    }
    .with_syntax(
        "key longitude:double latitude:double radius:double unit<M | KM | FT | MI> [WITHCOORD] \
         [WITHDIST] [WITHHASH] count-block[<COUNT count:integer> [ANY]@6.2.0] order[ASC | DESC]",
    )
    .with_deprecated("6.2.0", "`GEOSEARCH`: `FROMLONLAT`, `BYRADIUS`")
    .with_history(&[("7.0.0", "Units in capitals.")]),
    CommandSpec {
        since: "3.2.0",
        complexity: RADIUS_COMPLEXITY,
        key_uses: &[
            KeyUse::READ.at(1, 1),
            KeyUse::REPLACE.after("STORE", 5, 0, 0),
            KeyUse::REPLACE.after("STOREDIST", 5, 0, 0),
        ],
        summary: "Finds the members that are near another one; may keep them at another key.",
        ..CommandSpec::new(
            "georadiusbymember",
            -5,
            WRITE.and(Flags::MOVABLE_KEYS),
            RADIUS_KEYS,
            Group::Geo,
            georadiusbymember,
        )
    }
    .with_syntax(
        "key member radius:double unit<M | KM | FT | MI> [WITHCOORD] [WITHDIST] [WITHHASH] \
         count-block[<COUNT count:integer> [ANY]] order[ASC | DESC] \
         store[STORE storekey{key}:key | STOREDIST storedistkey{key}:key]",
    )
    .with_deprecated(
        "6.2.0",
        "`GEOSEARCH`, `GEOSEARCHSTORE`: `FROMMEMBER`, `BYRADIUS`",
    )
    .with_history(&[("6.2.0", "New: `ANY`."), ("7.0.0", "Units in capitals.")]),
    CommandSpec {
        since: "3.2.10",
        complexity: RADIUS_COMPLEXITY,
        summary: "Finds the members that are near another one.",
        ..CommandSpec::new(
            "georadiusbymember_ro",
            -5,
            Flags::READONLY,
            KeySpec::FIRST,
            Group::Geo,
            georadiusbymember_ro,
        )
    }
    .with_syntax(
        "key member radius:double unit<M | KM | FT | MI> [WITHCOORD] [WITHDIST] [WITHHASH] \
         count-block[<COUNT count:integer> [ANY]] order[ASC | DESC]",
    )
    .with_deprecated("6.2.0", "`GEOSEARCH`: `FROMMEMBER`, `BYRADIUS`")
    .with_history(&[("6.2.0", "New: `ANY`."), ("7.0.0", "Units in capitals.")]),
];

#[cfg(test)]
mod tests {
    use crate::commands::test_support::TestServer;

    fn sicily() -> TestServer {
        let mut server = TestServer::new();
        server.run("GEOADD s 13.361389 38.115556 Palermo 15.087269 37.502669 Catania");
        server
    }

    #[test]
    fn searches() {
        sicily().check_all(&[
            ("GEORADIUS s 15 37 200 km", "[\"Palermo\" \"Catania\"]"),
            (
                "GEORADIUS s 15 37 200 km WITHDIST ASC",
                "[[\"Catania\" \"56.4413\"] [\"Palermo\" \"190.4424\"]]",
            ),
            ("GEORADIUS_RO s 15 37 100 km", "[\"Catania\"]"),
            (
                "GEOSEARCH s FROMLONLAT 15 37 BYBOX 400 400 km ASC WITHHASH",
                "[[\"Catania\" :3479447370796909] [\"Palermo\" :3479099956230698]]",
            ),
            (
                "GEOSEARCH s BYRADIUS 200 km FROMMEMBER Palermo COUNT 1 DESC",
                "[\"Catania\"]",
            ),
            ("GEORADIUSBYMEMBER s Palermo 0 m", "[\"Palermo\"]"),
            ("GEORADIUSBYMEMBER_RO none Palermo x y", "[]"),
            ("GEOSEARCHSTORE d s FROMLONLAT 15 37 BYRADIUS 100 km", ":1"),
            (
                "ZRANGE d 0 -1 WITHSCORES",
                "[\"Catania\" \"3479447370796909\"]",
            ),
            ("GEORADIUS s 15 37 100 km STOREDIST d", ":1"),
            ("ZSCORE d Catania", "\"56.4412578701582\""),
            ("GEORADIUS none 15 37 100 km STORE d", ":0"),
            ("EXISTS d", ":0"),
        ]);
    }

    #[test]
    fn errors() {
        sicily().check_all(&[
            ("GEORADIUS s 15 37 x km", "-ERR need numeric radius"),
            ("GEORADIUS s 15 37 -1 km", "-ERR radius cannot be negative"),
            ("GEORADIUS s 15 37 1 km COUNT 0", "-ERR COUNT must be > 0"),
            ("GEORADIUS s 15 37 1 km ANY", "-ERR the ANY argument requires COUNT argument"),
            ("GEORADIUS s 15 37 1 km STORE", "-ERR syntax error"),
            ("GEORADIUS_RO s 15 37 1 km STORE d", "-ERR syntax error"),
            (
                "GEORADIUS s 15 37 1 km STORE d WITHDIST",
                "-ERR STORE option in GEORADIUS is not compatible with WITHDIST, WITHHASH and WITHCOORD options",
            ),
            ("GEORADIUSBYMEMBER s none 1 km", "-ERR could not decode requested zset member"),
            ("GEOSEARCH s FROMLONLAT 1 1 FROMMEMBER Palermo BYRADIUS 1 m", "-ERR syntax error"),
            ("GEOSEARCH s FROMMEMBER Palermo FROMLONLAT 1 1 BYRADIUS 1 m", "-ERR syntax error"),
            ("GEOSEARCH s FROMLONLAT 1 1 BYBOX -1 1 m", "-ERR height or width cannot be negative"),
            ("GEOSEARCH s FROMLONLAT 1 1 BYBOX 1 x m", "-ERR need numeric height"),
            (
                "GEOSEARCH s FROMLONLAT 1 1 ASC ASC",
                "-ERR exactly one of BYRADIUS and BYBOX can be specified for GEOSEARCH",
            ),
            (
                "geosearch s BYRADIUS 1 m ASC ASC",
                "-ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for geosearch",
            ),
        ]);
    }
}
