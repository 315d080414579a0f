//! The readings of a seeded city as files, so that others can be given exactly what ingest is given.
//!
//! Two files come into a folder, both in the order in which the gateways send:
//! - `frames`: for each frame a big-endian u16 with the length of its topic, a u32 with the length of its bytes, a u16
//!   with the number of its readings, then topic and bytes;
//! - `rows`: 32 bytes for each reading, little-endian: device u32, quantity u16, quality u16, cell u64 (bits of the
//!   geohash of precision 7), time i64 in ms since 1970 UTC, value f64, NaN for none.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use benches::chengdu::{City, MAX_DEVICES, MINUTE_MS, SLOTS};
use benches::city::SEED;
use clap::Parser;
use ingest::cell::Cell;
use wire::{Batch, Codec, Lane, Payload, frame, topic};

/// Precision of the windows that ingest closes.
const PRECISION: u8 = 7;

/// Writes a city's readings as MQTT frames and as rows.
#[derive(Parser)]
struct Args {
    /// Folder for the files; it must exist.
    folder: PathBuf,
    /// Gateways in the city.
    #[arg(long, default_value_t = 50)]
    gateways: u32,
    /// Devices of each gateway, at most 4000.
    #[arg(long, default_value_t = MAX_DEVICES)]
    devices: u32,
    /// Readings to write as frames, to the end of a frame.
    #[arg(long, default_value_t = 24_000_000)]
    framed: u64,
    /// How many of them to write as rows too, from the first, to the end of a frame.
    #[arg(long, default_value_t = 4_000_000)]
    rows: u64,
    /// Hours before now at which the first minute lies; with too few the last readings would be of the future.
    #[arg(long, default_value_t = 24)]
    start_hours_ago: u32,
    /// Seed of the city.
    #[arg(long, default_value_t = SEED)]
    seed: u64,
}

fn create(folder: &Path, name: &str) -> anyhow::Result<BufWriter<File>> {
    let path = folder.join(name);
    let file = File::create(&path).with_context(|| path.display().to_string())?;
    Ok(BufWriter::with_capacity(1 << 20, file))
}

/// Number of a device in the city, from the digits that end its name.
fn number(gateway: u32, devices: u32, sensor: &str) -> anyhow::Result<u32> {
    let digits = sensor.rsplit('.').next().unwrap_or_default();
    let own: u32 = digits.parse().with_context(|| format!("{sensor}: a sensor's name ends in its number"))?;
    Ok(gateway * devices + own)
}

fn write_rows(out: &mut impl Write, gateway: u32, devices: u32, batch: &Batch) -> anyhow::Result<()> {
    for reading in &batch.readings {
        let series = &batch.series[usize::from(reading.series)];
        let place = &batch.places[usize::from(series.place)];
        let at_ms = batch.clock.epoch_ms + reading.mono_ms as i64;
        out.write_all(&number(gateway, devices, series.sensor.as_str())?.to_le_bytes())?;
        out.write_all(&series.quantity.0.to_le_bytes())?;
        out.write_all(&(reading.quality as u16).to_le_bytes())?;
        out.write_all(&Cell::at_e7(place.lat_e7, place.lon_e7, PRECISION).bits().to_le_bytes())?;
        out.write_all(&at_ms.to_le_bytes())?;
        out.write_all(&reading.value.unwrap_or(f64::NAN).to_le_bytes())?;
    }
    Ok(())
}

#[allow(clippy::print_stdout, clippy::disallowed_methods)] // the result; the program that drives owns the clock
fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let devices = args.devices.min(MAX_DEVICES);
    ensure!(
        args.gateways >= 1 && devices >= SLOTS,
        "at least one gateway, and a device for each of its {SLOTS} slots"
    );
    let minutes = args.framed.div_ceil(u64::from(args.gateways) * u64::from(devices));
    let back_ms = u64::from(args.start_hours_ago) * 3_600_000;
    ensure!(
        (minutes + 1) * MINUTE_MS <= back_ms,
        "{} readings are {minutes} minutes of this city: start earlier with --start-hours-ago",
        args.framed
    );
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as i64;
    let city = City::new(args.seed, args.gateways, devices, now_ms - back_ms as i64)?;
    let ids = (0..args.gateways).map(|gateway| city.id(gateway)).collect::<Result<Vec<_>, _>>()?;
    let (mut frames, mut rows) = (create(&args.folder, "frames")?, create(&args.folder, "rows")?);
    let (mut framed, mut rowed, mut count, mut bytes) = (0, 0, 0_u64, 0_u64);
    'writing: for (minute, slot) in (0..minutes).flat_map(|minute| (0..SLOTS).map(move |slot| (minute, slot)))
    {
        for (gateway, id) in (0..).zip(&ids) {
            if framed >= args.framed {
                break 'writing;
            }
            let batch = city.batch(gateway, minute, slot)?;
            let here = batch.readings.len();
            if rowed < args.rows {
                write_rows(&mut rows, gateway, devices, &batch)?;
                rowed += here as u64;
            }
            let sequence = minute * u64::from(SLOTS) + u64::from(slot) + 1;
            let frame =
                frame::encode(id, city.store(gateway), sequence, &Payload::Readings(batch), Codec::Zstd)?;
            let topic = topic::up(id, Lane::Reading);
            frames.write_all(&u16::try_from(topic.len())?.to_be_bytes())?;
            frames.write_all(&u32::try_from(frame.len())?.to_be_bytes())?;
            frames.write_all(&u16::try_from(here)?.to_be_bytes())?;
            frames.write_all(topic.as_bytes())?;
            frames.write_all(&frame)?;
            framed += here as u64;
            count += 1;
            bytes += frame.len() as u64;
        }
    }
    frames.flush()?;
    rows.flush()?;
    println!("{framed} readings in {count} frames of {bytes} bytes, {rowed} of them as rows");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reading_is_a_row_of_its_own_device() {
        let city = City::new(SEED, 2, 60, 1_780_272_000_000).unwrap();
        let mut rows = Vec::new();
        let mut readings = 0;
        for slot in 0..SLOTS {
            let batch = city.batch(1, 0, slot).unwrap();
            readings += batch.readings.len();
            write_rows(&mut rows, 1, 60, &batch).unwrap();
        }
        assert_eq!((readings, rows.len()), (60, 60 * 32));
        let mut devices: Vec<_> =
            rows.chunks(32).map(|row| u32::from_le_bytes([row[0], row[1], row[2], row[3]])).collect();
        devices.sort_unstable();
        assert_eq!(devices, (60..120).collect::<Vec<_>>());
    }
}
