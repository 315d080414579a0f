//! Cells as GeoJSON (RFC 7946): one polygon per cell, its numbers as properties.

use serde::Serialize;
use utoipa::ToSchema;

use crate::views::{CellView, CellsView};

/// A GeoJSON feature collection; `quantity`, `unit`, `window_ms`, `precision` and `truncated` are foreign members.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FeatureCollection {
    /// `FeatureCollection`
    #[serde(rename = "type")]
    #[schema(rename = "type")]
    kind: &'static str,
    /// The quantity's word.
    quantity: String,
    /// Its unit, UCUM.
    unit: String,
    /// Length of a window in milliseconds.
    window_ms: i64,
    /// Characters of a cell's geohash.
    precision: u8,
    /// Whether cells were left out.
    truncated: bool,
    /// One per cell.
    features: Vec<Feature>,
}

/// One cell.
#[derive(Debug, Serialize, ToSchema)]
struct Feature {
    /// `Feature`
    #[serde(rename = "type")]
    #[schema(rename = "type")]
    kind: &'static str,
    /// West, south, east, north.
    bbox: [f64; 4],
    geometry: Polygon,
    properties: CellView,
}

/// The outline of a cell.
#[derive(Debug, Serialize, ToSchema)]
struct Polygon {
    /// `Polygon`
    #[serde(rename = "type")]
    #[schema(rename = "type")]
    kind: &'static str,
    /// One ring, counter-clockwise, closed; longitude before latitude.
    coordinates: [[[f64; 2]; 5]; 1],
}

impl From<CellsView> for FeatureCollection {
    fn from(view: CellsView) -> Self {
        Self {
            kind: "FeatureCollection",
            quantity: view.quantity,
            unit: view.unit,
            window_ms: view.window_ms,
            precision: view.precision,
            truncated: view.truncated,
            features: view.cells.into_iter().map(feature).collect(),
        }
    }
}

fn feature(cell: CellView) -> Feature {
    let [west, south, east, north] = cell.bbox;
    let ring = [[west, south], [east, south], [east, north], [west, north], [west, south]];
    Feature {
        kind: "Feature",
        bbox: cell.bbox,
        geometry: Polygon { kind: "Polygon", coordinates: [ring] },
        properties: cell,
    }
}
