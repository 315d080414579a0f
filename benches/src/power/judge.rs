//! What was promised against what was found. Pure.

use std::collections::{BTreeMap, BTreeSet};

use gateway::buffer::{Contents, Inspection};
use wire::Lane;

use crate::sequences::unexplained;

/// A frame of a store: lane, number.
pub type Key = (u8, u64);
/// Lane, first and last number of a loss record.
pub type Loss = (u8, u64, u64);

/// Numbers that the gateway has called durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Promise {
    /// The store they count in.
    pub store: u64,
    /// Next number of each lane: everything below was given out for good.
    pub next: [u64; 5],
}

impl Promise {
    /// Reads `store=7 next=[1, 2, 3, 4, 5]`, as the gateway's log has it behind `gateway::durable: `.
    pub fn parse(text: &str) -> Option<Self> {
        let (store, next) = text.trim().strip_prefix("store=")?.split_once(" next=[")?;
        let mut numbers = next.strip_suffix(']')?.split(", ").map(str::parse);
        let mut lanes = [0; 5];
        for lane in &mut lanes {
            *lane = numbers.next()?.ok()?;
        }
        Some(Self { store: store.parse().ok()?, next: lanes }).filter(|_| numbers.next().is_none())
    }

    /// What a store that was read from a disk had given out for good.
    pub fn of(contents: &Contents) -> Self {
        let mut next = [1; 5];
        for (lane, held) in &contents.lanes {
            next[*lane as usize] = held.next;
        }
        Self { store: contents.id, next }
    }
}

/// What is known of a store from elsewhere.
#[derive(Debug, Clone, Default)]
pub struct Past {
    /// The last promise before the cut.
    pub promise: Option<Promise>,
    /// First number of each lane that is to be accounted for; what is below was judged before.
    pub floors: [u64; 5],
    /// Frames that ingest has on stable storage.
    pub taken: BTreeSet<Key>,
    /// Loss records that ingest has, or that lay in the store at first.
    pub losses: Vec<Loss>,
    /// Checksums of frames that have been seen elsewhere.
    pub known: BTreeMap<Key, u32>,
}

/// What a look at a store found.
#[derive(Debug, Clone)]
pub struct Found {
    /// What a start would find; `None` when there is no buffer yet.
    pub inspection: Option<Inspection>,
    /// Checksum of each frame.
    pub frames: BTreeMap<Key, u32>,
    /// Loss records that wait in it.
    pub losses: Vec<Loss>,
    /// How many of them say that the store was damaged.
    pub corrupt: usize,
}

/// Everything that is wrong, in words; empty when every promise was kept.
pub fn judge(past: &Past, found: &Found) -> Vec<String> {
    let mut wrong = Vec::new();
    let Some(promise) = past.promise else {
        // Before the first promise there is nothing to lose: it only has to start, which the boot tries.
        return wrong;
    };
    let Some(inspection) = &found.inspection else {
        return vec!["no buffer at all, although numbers were promised".into()];
    };
    let store = match &inspection.store {
        Ok(store) => store,
        Err(why) => return vec![format!("the store would be set aside: {why}")],
    };
    if !inspection.damaged.is_empty() {
        wrong.push(format!("set aside by an earlier start: {}", inspection.damaged.join(", ")));
    }
    if store.id != promise.store {
        wrong.push(format!("store {:016x} where {:016x} was promised", store.id, promise.store));
        return wrong;
    }
    if store.blob_files > 0 {
        wrong.push(format!("{} files in blobs/, 0 expected", store.blob_files));
    }
    if found.corrupt > 0 {
        wrong.push(format!("{} loss records speak of damage", found.corrupt));
    }
    for (lane, held) in &store.lanes {
        let (number, name) = (*lane as u8, lane.as_str());
        let mut say = |what: String| wrong.push(format!("{name}: {what}"));
        let promised = promise.next[*lane as usize];
        if held.next < promised {
            say(format!("{promised} was promised as next, it would give out {} again", held.next));
        }
        if !held.unexplained.is_empty() {
            say(format!("holes without a loss record: {:?}", held.unexplained));
        }
        let records = |losses: &[Loss]| -> Vec<(u64, u64)> {
            losses.iter().filter(|(lane, ..)| *lane == number).map(|(_, from, to)| (*from, *to)).collect()
        };
        let mut records: Vec<(u64, u64)> = [records(&past.losses), records(&found.losses)].concat();
        let hidden = unexplained(&held.explained, &records);
        if !hidden.is_empty() {
            say(format!("noted as explained, but no loss record says so: {hidden:?}"));
        }
        records.sort_unstable();
        let first = past.floors[*lane as usize];
        let vanished: Vec<(u64, u64)> = (first..held.floor)
            .filter(|sequence| !past.taken.contains(&(number, *sequence)))
            .map(|sequence| (sequence, sequence))
            .collect();
        let vanished = unexplained(&vanished, &records);
        if let (Some((from, _)), Some((_, to))) = (vanished.first(), vanished.last()) {
            say(format!("{} forgotten in {from}..={to} although ingest has them not", vanished.len()));
        }
    }
    let other: Vec<&Key> = found
        .frames
        .iter()
        .filter(|(key, sum)| past.known.get(*key).is_some_and(|k| k != *sum))
        .map(|(k, _)| k)
        .collect();
    if let Some((lane, sequence)) = other.first() {
        let lane = Lane::from_number(*lane).map_or("?", Lane::as_str);
        wrong.push(format!("{} numbers given twice, the first {lane} {sequence}", other.len()));
    }
    wrong
}

#[cfg(test)]
mod tests {
    use gateway::buffer::LaneContents;

    use super::*;

    const R: u8 = Lane::Reading as u8;

    /// Readings 1 to 9 were promised; ingest has 1 to 3.
    fn past() -> Past {
        let mut next = [1; 5];
        next[R as usize] = 10;
        Past {
            promise: Some(Promise { store: 7, next }),
            floors: [1; 5],
            taken: (1..=3).map(|n| (R, n)).collect(),
            known: (1..=9).map(|n| ((R, n), n as u32)).collect(),
            ..Past::default()
        }
    }

    /// A sound store with readings `floor..next`.
    fn found(floor: u64, next: u64) -> Found {
        let lanes = Lane::ALL.into_iter().map(|lane| {
            let (floor, next) = if lane == Lane::Reading { (floor, next) } else { (1, 1) };
            (lane, LaneContents { floor, next, frames: next - floor, ..LaneContents::default() })
        });
        let store = Contents { id: 7, lanes: lanes.collect(), set_aside: 0, blob_files: 0 };
        Found {
            inspection: Some(Inspection { store: Ok(store), damaged: Vec::new() }),
            frames: (floor..next).map(|n| ((R, n), n as u32)).collect(),
            losses: Vec::new(),
            corrupt: 0,
        }
    }

    fn with(mut found: Found, change: impl FnOnce(&mut Found)) -> Found {
        change(&mut found);
        found
    }

    fn reading(found: &mut Found) -> &mut LaneContents {
        let store = found.inspection.as_mut().unwrap().store.as_mut().unwrap();
        &mut store.lanes.iter_mut().find(|(lane, _)| *lane == Lane::Reading).unwrap().1
    }

    #[test]
    fn a_kept_promise_is_silent_and_each_broken_one_is_named() {
        let story = |found: Found| judge(&past(), &found).join("; ");
        for kept in [
            found(1, 10),
            found(4, 10),
            found(4, 12),
            with(found(4, 10), |f| {
                reading(f).explained = vec![(5, 6)];
                f.losses.push((R, 5, 6));
            }),
            with(found(6, 10), |f| f.losses.push((R, 4, 5))),
        ] {
            assert_eq!(story(kept), "");
        }
        for (broken, word) in [
            (found(1, 9), "10 was promised as next, it would give out 9 again"),
            (found(5, 10), "1 forgotten in 4..=4"),
            (with(found(4, 10), |f| reading(f).unexplained = vec![(5, 5)]), "holes without a loss record"),
            (with(found(4, 10), |f| reading(f).explained = vec![(5, 5)]), "no loss record says so"),
            (with(found(4, 10), |f| f.corrupt = 1), "speak of damage"),
            (with(found(4, 10), |f| *f.frames.get_mut(&(R, 5)).unwrap() = 99), "1 numbers given twice"),
            (with(found(4, 10), |f| f.inspection = None), "no buffer at all"),
            (
                with(found(4, 10), |f| f.inspection.as_mut().unwrap().store = Err("torn".into())),
                "set aside: torn",
            ),
            (
                with(found(4, 10), |f| {
                    f.inspection.as_mut().unwrap().damaged.push("buffer.damaged-1".into())
                }),
                "set aside by an earlier start",
            ),
            (
                with(found(4, 10), |f| f.inspection.as_mut().unwrap().store.as_mut().unwrap().id = 8),
                "store 0000000000000008",
            ),
        ] {
            assert!(story(broken.clone()).contains(word), "{word}: {}", story(broken));
        }
        let before = Past { promise: None, ..past() };
        assert!(judge(&before, &found(1, 1)).is_empty(), "nothing was promised yet");
    }

    #[test]
    fn the_gateways_own_words_are_understood() {
        let promise = Promise::parse("store=77 next=[1, 2, 3, 4, 5]");
        assert_eq!(promise, Some(Promise { store: 77, next: [1, 2, 3, 4, 5] }));
        for bad in [
            "",
            "store=7",
            "store=7 next=[1, 2]",
            "store=7 next=[1, 2, 3, 4, 5, 6]",
            "store=x next=[1, 2, 3, 4, 5]",
        ] {
            assert_eq!(Promise::parse(bad), None, "{bad}");
        }
    }
}
