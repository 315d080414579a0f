//! What lies in the buffer of a gateway that does not run, for `gateway inspect`.

use std::fmt::Write;

use gateway::buffer::{Contents, Inspection};
use serde_json::json;

/// Ranges shown of a lane; programs get all of them.
const SHOWN: usize = 8;

/// A readable account, Chinese and English.
pub(crate) fn words(found: &Inspection) -> String {
    let mut out = String::new();
    // Writing into a String has no way to fail.
    let _ = write_words(&mut out, found);
    out
}

fn write_words(out: &mut String, found: &Inspection) -> std::fmt::Result {
    match &found.store {
        Ok(store) => write_store(out, store)?,
        Err(why) => writeln!(
            out,
            "缓冲区已损坏 the store is damaged: {why}\n下次启动会将其改名保留并新建 the next start sets it aside and begins a fresh one"
        )?,
    }
    for name in &found.damaged {
        writeln!(out, "已搁置的损坏缓冲区 damaged store lying aside: {name}")?;
    }
    Ok(())
}

fn write_store(out: &mut String, store: &Contents) -> std::fmt::Result {
    writeln!(out, "缓冲区 store        {:016x}", store.id)?;
    for (lane, held) in &store.lanes {
        writeln!(
            out,
            "{:8} 首号 floor {} 次号 next {} 帧 frames {} 字节 bytes {}",
            lane.as_str(),
            held.floor,
            held.next,
            held.frames,
            held.bytes
        )?;
        if !held.explained.is_empty() {
            writeln!(out, "         已记录的缺口 gaps with a loss record: {}", ranges(&held.explained))?;
        }
        if !held.unexplained.is_empty() {
            writeln!(
                out,
                "         未记录的缺口，下次启动会记录 gaps without a record, which the next start writes: {}",
                ranges(&held.unexplained)
            )?;
        }
    }
    writeln!(out, "被拒收 set aside    {} 帧 frames that ingest refused", store.set_aside)?;
    if store.blob_files > 0 {
        writeln!(
            out,
            "blobs/ 里有 {} 个文件，应为 0 files in blobs/, must be 0: please report this",
            store.blob_files
        )?;
    }
    Ok(())
}

fn ranges(ranges: &[(u64, u64)]) -> String {
    let shown: Vec<String> = ranges.iter().take(SHOWN).map(|(from, to)| format!("{from}..={to}")).collect();
    format!("{}{}", shown.join(", "), if ranges.len() > SHOWN { ", …" } else { "" })
}

/// The same for programs; `sound` is what the exit code says.
pub(crate) fn json(found: &Inspection) -> String {
    let store = found.store.as_ref().ok().map(|store| {
        let lanes: Vec<_> = store
            .lanes
            .iter()
            .map(|(lane, held)| {
                json!({
                    "lane": lane.as_str(), "floor": held.floor, "next": held.next, "frames": held.frames,
                    "bytes": held.bytes, "explained": held.explained, "unexplained": held.unexplained,
                })
            })
            .collect();
        json!({ "id": store.id, "lanes": lanes, "set_aside": store.set_aside, "blob_files": store.blob_files })
    });
    let all = json!({
        "sound": found.is_sound(), "store": store, "damage": found.store.as_ref().err(), "damaged": found.damaged,
    });
    format!("{all}\n")
}
