//! Circles and boxes on the globe: distances, and the cells in which to look for what is inside.
//!
//! The earth is a sphere here, and a distance a great circle's (haversine). The cells are as Redis chooses them, in its order: without
//! sorting, that is the order of a search's results.

use super::geo_cells::{Area, Cell, Place, STEPS_MAX};
use std::f64::consts::PI;

const EARTH_RADIUS_METRES: f64 = 6_372_797.560_856;
/// Half of the equator in the Mercator projection.
const MERCATOR_MAX: f64 = 20_037_726.37;
const RADIANS_PER_DEGREE: f64 = PI / 180.0;

fn radians(degrees: f64) -> f64 {
    degrees * RADIANS_PER_DEGREE
}

fn degrees(radians: f64) -> f64 {
    radians / RADIANS_PER_DEGREE
}

fn distance_along_meridian(first: f64, second: f64) -> f64 {
    EARTH_RADIUS_METRES * (radians(second) - radians(first)).abs()
}

/// Metres between two places.
pub fn distance_metres(first: Place, second: Place) -> f64 {
    let across = ((radians(second.longitude) - radians(first.longitude)) / 2.0).sin();
    if across == 0.0 {
        return distance_along_meridian(first.latitude, second.latitude);
    }
    let (first_latitude, second_latitude) = (radians(first.latitude), radians(second.latitude));
    let along = ((second_latitude - first_latitude) / 2.0).sin();
    let haversine = along * along + first_latitude.cos() * second_latitude.cos() * across * across;
    2.0 * EARTH_RADIUS_METRES * haversine.sqrt().asin()
}

/// What is searched, in the client's unit.
#[derive(Clone, Copy, Debug)]
pub enum Extent {
    /// All places up to so far away.
    Radius(f64),
    /// Width and height of a rectangle.
    Box(f64, f64),
}

/// An area around a place.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// The middle.
    pub centre: Place,
    /// How far it reaches.
    pub extent: Extent,
    /// Metres in the client's unit.
    pub unit_metres: f64,
}

impl Shape {
    /// Metres from the centre to a place, if it is inside.
    pub fn distance_metres(&self, place: Place) -> Option<f64> {
        match self.extent {
            Extent::Radius(radius) => {
                let distance = distance_metres(self.centre, place);
                // Between opposite places it may be no number: then it is not too far.
                let is_too_far = distance > radius * self.unit_metres;
                (!is_too_far).then_some(distance)
            }
            Extent::Box(width, height) => {
                let along = distance_along_meridian(place.latitude, self.centre.latitude);
                if along > height * self.unit_metres / 2.0 {
                    return None;
                }
                let beside = Place {
                    longitude: self.centre.longitude,
                    latitude: place.latitude,
                };
                if distance_metres(place, beside) > width * self.unit_metres / 2.0 {
                    return None;
                }
                Some(distance_metres(self.centre, place))
            }
        }
    }

    /// The rectangle around it.
    fn bounds(&self) -> Area {
        let (width, height) = match self.extent {
            Extent::Radius(radius) => (radius, radius),
            Extent::Box(width, height) => (width / 2.0, height / 2.0),
        };
        let (width, height) = (self.unit_metres * width, self.unit_metres * height);
        let Place {
            longitude,
            latitude,
        } = self.centre;
        let up = degrees(height / EARTH_RADIUS_METRES);
        // The parallel on the equator's far side is the shorter one, so it spans more degrees.
        let far = if latitude < 0.0 {
            latitude - up
        } else {
            latitude + up
        };
        let aside = degrees(width / EARTH_RADIUS_METRES / radians(far).cos());
        Area {
            least: Place {
                longitude: longitude - aside,
                latitude: latitude - up,
            },
            greatest: Place {
                longitude: longitude + aside,
                latitude: latitude + up,
            },
        }
    }

    fn steps(&self) -> u32 {
        let mut range = self.unit_metres
            * match self.extent {
                Extent::Radius(radius) => radius,
                Extent::Box(width, height) => {
                    ((width / 2.0) * (width / 2.0) + (height / 2.0) * (height / 2.0)).sqrt()
                }
            };
        if range == 0.0 {
            return STEPS_MAX;
        }
        let mut steps = -1;
        while range < MERCATOR_MAX {
            range *= 2.0;
            steps += 1;
        }
        // Cells are narrower towards the poles.
        let latitude = self.centre.latitude.abs();
        steps -= i32::from(latitude > 66.0) + i32::from(latitude > 80.0);
        steps.clamp(1, STEPS_MAX as i32) as u32
    }

    /// The cells to look into, none of them twice in a row.
    pub fn cells(&self) -> Vec<Cell> {
        /// East and north, in the order of the search.
        const NEIGHBOURS: [(i64, i64); 9] = [
            (0, 0),
            (0, 1),
            (0, -1),
            (1, 0),
            (-1, 0),
            (1, 1),
            (-1, 1),
            (1, -1),
            (-1, -1),
        ];
        let bounds = self.bounds();
        let mut cell = Cell::of(self.centre, self.steps());
        if cell.steps > 1 && !neighbours_cover(cell, &bounds) {
            cell = Cell::of(self.centre, cell.steps - 1);
        }
        let area = cell.area();
        let is_needed = |east: i64, north: i64| {
            cell.steps < 2
                || !(north < 0 && area.least.latitude < bounds.least.latitude
                    || north > 0 && area.greatest.latitude > bounds.greatest.latitude
                    || east < 0 && area.least.longitude < bounds.least.longitude
                    || east > 0 && area.greatest.longitude > bounds.greatest.longitude)
        };
        let mut cells: Vec<Cell> = Vec::with_capacity(NEIGHBOURS.len());
        for (east, north) in NEIGHBOURS {
            let neighbour = cell.neighbour(east, north);
            // With large areas neighbours coincide. Redis compares with the one before it, but never with the middle.
            let is_repeated = cells.len() > 1 && cells.last() == Some(&neighbour);
            if is_needed(east, north) && !is_repeated {
                cells.push(neighbour);
            }
        }
        cells
    }
}

/// True if a cell and its neighbours reach as far as the bounds.
fn neighbours_cover(cell: Cell, bounds: &Area) -> bool {
    let area = |east, north| cell.neighbour(east, north).area();
    area(0, 1).greatest.latitude >= bounds.greatest.latitude
        && area(0, -1).least.latitude <= bounds.least.latitude
        && area(1, 0).greatest.longitude >= bounds.greatest.longitude
        && area(-1, 0).least.longitude <= bounds.least.longitude
}
