//! Geohash cells: places as numbers whose bits take turns between longitude and latitude.
//!
//! A cell of `steps` bits a coordinate is one of 4^steps rectangles. With 26 steps it is the score of a place in a sorted set, 52 bits
//! that a double holds exactly; all places of a larger cell are one range of scores. The arithmetic is done in Redis's order, so that
//! scores and coordinates are the same to the last bit.

use crate::resp::number::truncated;

/// Steps of a score.
pub const STEPS_MAX: u32 = 26;
/// The highest longitude in degrees.
pub const LONGITUDE_MAX: f64 = 180.0;
/// The highest latitude in degrees: that of the web's Mercator projection.
pub const LATITUDE_MAX: f64 = 85.051_128_78;

const LATITUDE_BITS: u64 = 0x5555_5555_5555_5555;

/// A place in degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    /// East is positive.
    pub longitude: f64,
    /// North is positive.
    pub latitude: f64,
}

/// A rectangle in degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Area {
    /// The corner with the least coordinates.
    pub least: Place,
    /// The corner with the greatest.
    pub greatest: Place,
}

/// A cell: `2 * steps` bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// The latitude's bits in even places, the longitude's in odd ones.
    pub bits: u64,
    /// Bits of each coordinate.
    pub steps: u32,
}

/// Moves the 32 bits of a number into the even places of another.
fn spread(number: u32) -> u64 {
    const MASKS: [(u32, u64); 5] = [
        (16, 0x0000_ffff_0000_ffff),
        (8, 0x00ff_00ff_00ff_00ff),
        (4, 0x0f0f_0f0f_0f0f_0f0f),
        (2, 0x3333_3333_3333_3333),
        (1, LATITUDE_BITS),
    ];
    MASKS.iter().fold(u64::from(number), |bits, (shift, mask)| {
        (bits | bits << shift) & mask
    })
}

/// Collects the bits in the even places.
fn gather(bits: u64) -> u32 {
    const MASKS: [(u32, u64); 5] = [
        (1, 0x3333_3333_3333_3333),
        (2, 0x0f0f_0f0f_0f0f_0f0f),
        (4, 0x00ff_00ff_00ff_00ff),
        (8, 0x0000_ffff_0000_ffff),
        (16, 0x0000_0000_ffff_ffff),
    ];
    MASKS
        .iter()
        .fold(bits & LATITUDE_BITS, |bits, (shift, mask)| {
            (bits | bits >> shift) & mask
        }) as u32
}

/// A score as bits. Any double can be a score; those that are no such integer become what Redis's conversion in C makes of them on
/// x86-64: what is below 0 goes around as an `i64` does, what is beyond 64 bits is nothing, or below 0 the highest bit.
fn bits_of(score: f64) -> u64 {
    const HALF: f64 = 9_223_372_036_854_775_808.0;
    if score >= HALF {
        score_in_range(score - HALF) ^ 1 << 63
    } else {
        score_in_range(score)
    }
}

/// As the processor converts to 64 bits with a sign: the highest bit stands for all that do not fit.
fn score_in_range(score: f64) -> u64 {
    truncated(score) as u64
}

impl Cell {
    /// The cell of a place, with latitudes up to `latitude_max` either way.
    fn within(place: Place, latitude_max: f64, steps: u32) -> Cell {
        let cells = (1u64 << steps) as f64;
        let part = |value: f64, max: f64| (value - -max) / (max - -max) * cells;
        let latitude = part(place.latitude, latitude_max) as u32;
        let longitude = part(place.longitude, LONGITUDE_MAX) as u32;
        Cell {
            bits: spread(latitude) | spread(longitude) << 1,
            steps,
        }
    }

    /// The cell of a place.
    pub fn of(place: Place, steps: u32) -> Cell {
        Cell::within(place, LATITUDE_MAX, steps)
    }

    /// The smallest cell, which a score names.
    pub fn of_score(score: f64) -> Cell {
        Cell {
            bits: bits_of(score),
            steps: STEPS_MAX,
        }
    }

    /// The rectangle.
    pub fn area(self) -> Area {
        let cells = (1u64 << self.steps) as f64;
        let edge = |number: f64, max: f64| -max + number / cells * (max - -max);
        let (latitude, longitude) = (gather(self.bits), gather(self.bits >> 1));
        // Bits beyond the map, which a tampered score has, may be all there are.
        let corner = |added: u32| Place {
            longitude: edge(f64::from(longitude.wrapping_add(added)), LONGITUDE_MAX),
            latitude: edge(f64::from(latitude.wrapping_add(added)), LATITUDE_MAX),
        };
        Area {
            least: corner(0),
            greatest: corner(1),
        }
    }

    /// The middle.
    pub fn place(self) -> Place {
        let Area { least, greatest } = self.area();
        let middle = |low: f64, high: f64, max: f64| ((low + high) / 2.0).clamp(-max, max);
        Place {
            longitude: middle(least.longitude, greatest.longitude, LONGITUDE_MAX),
            latitude: middle(least.latitude, greatest.latitude, LATITUDE_MAX),
        }
    }

    /// The score of the cell's first place.
    pub fn score(self) -> u64 {
        self.bits << (2 * (STEPS_MAX - self.steps))
    }

    /// The score behind that of the cell's last place.
    pub fn end_score(self) -> u64 {
        Cell {
            bits: self.bits + 1,
            ..self
        }
        .score()
    }

    /// The neighbour so many cells to the east and north (-1, 0 or 1); around the world if need be.
    pub fn neighbour(self, east: i64, north: i64) -> Cell {
        let mask = u64::MAX >> (64 - 2 * self.steps);
        let moved = |bits: u64, by: i64| match by {
            1 => spread(gather(bits).wrapping_add(1)) & mask,
            -1 => spread(gather(bits).wrapping_sub(1)) & mask,
            // The eastern and northern edges are one cell beyond the last; a coordinate that does not move stays there.
            _ => bits & LATITUDE_BITS,
        };
        Cell {
            bits: moved(self.bits, north) | moved(self.bits >> 1, east) << 1,
            steps: self.steps,
        }
    }
}

/// The geohash of a place as text, 11 characters. It is in use elsewhere, with latitudes up to 90 degrees; its last character is
/// always 0, for 52 bits are not enough for it.
pub fn geohash(place: Place) -> [u8; 11] {
    const ALPHABET: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
    const CHARACTER_BITS: u32 = 5;
    let bits = Cell::within(place, 90.0, STEPS_MAX).bits;
    let mut text = [b'0'; 11];
    for (index, character) in (1..).zip(&mut text[..10]) {
        let shift = 2 * STEPS_MAX - index * CHARACTER_BITS;
        *character = ALPHABET[(bits >> shift) as usize & 31];
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn spread_bits_are_gathered(number: u32, other: u32) {
            let bits = spread(number) | spread(other) << 1;
            prop_assert_eq!((gather(bits), gather(bits >> 1)), (number, other));
        }

        #[test]
        fn a_place_is_in_its_cell_and_in_no_neighbour(
            longitude in -180.0..180.0f64, latitude in -85.0..85.0f64, steps in 2..=STEPS_MAX,
        ) {
            let cell = Cell::of(Place { longitude, latitude }, steps);
            let is_inside = |cell: Cell| {
                let Area { least, greatest } = cell.area();
                (least.longitude..=greatest.longitude).contains(&longitude)
                    && (least.latitude..=greatest.latitude).contains(&latitude)
            };
            prop_assert!(is_inside(cell));
            prop_assert_eq!(cell.neighbour(1, -1).neighbour(-1, 1), cell);
            let score = Cell::of(Place { longitude, latitude }, STEPS_MAX).score();
            prop_assert!((cell.score()..cell.end_score()).contains(&score));
            let east = cell.neighbour(1, 0).area();
            prop_assert!(east.least.longitude == cell.area().greatest.longitude || east.least.longitude == -180.0);
        }
    }
}
