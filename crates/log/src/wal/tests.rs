//! What a write-ahead log must survive: cuts, flips, failing disks, and the power going off at any moment.

use std::path::Path;
use std::sync::Arc;

use tenure_core::{Batch, Command, Time};

use super::identity::{IDENTITY_FILE, IdentityFile};
use super::record::{Ballot, Bytes, Entry, EntryId, Payload, Step};
use super::segment::{HEADER_BYTES, Identity, segment_name};
use super::{Found, Wal};
use crate::alarm::Alarm;
use crate::desk::Desk;
use crate::disk::Disk;
use crate::disk::fault::FaultDisk;
use crate::error::OpenError;
use crate::meters::Meters;
use crate::proposal::Proposal;
use crate::status::{Durability, Health};

const IDENTITY: Identity = Identity { log: 77, node: 1 };
const SMALL: u64 = HEADER_BYTES as u64 + 1024;

fn alarm() -> Arc<Alarm> {
    let meters = Arc::new(Meters::new());
    let health = Arc::new(Health::new(Durability::Disk, 1, meters.clone()));
    Arc::new(Alarm::new(health, Arc::new(Desk::default()), meters))
}

fn open(disk: &FaultDisk) -> Result<(Wal, Found), OpenError> {
    open_with(disk, alarm())
}

fn open_with(disk: &FaultDisk, alarm: Arc<Alarm>) -> Result<(Wal, Found), OpenError> {
    let dir = Path::new("log");
    let identity_file = if disk.names().iter().any(|name| name == IDENTITY_FILE) {
        IdentityFile::open(disk, dir)?
    } else {
        IdentityFile::create(disk, IDENTITY).map_err(|error| OpenError::Io {
            what: "begin",
            path: dir.into(),
            error,
        })?
    };
    Wal::open(Arc::new(disk.clone()), dir, identity_file, SMALL, alarm)
}

fn id(index: u64) -> EntryId {
    EntryId { term: 1, node: 1, index }
}

// The body of entry `index`; of different lengths, so that frames end at all kinds of places.
fn body(index: u64) -> Vec<u8> {
    let ticks = usize::try_from(index % 7).unwrap() * 20 + 1;
    Proposal::new(Batch::at(Time::from_micros(index), vec![Command::Tick; ticks])).body
}

fn append(wal: &mut Wal, index: u64) -> Result<u64, super::Stopped> {
    let body = body(index);
    let entry = Entry { id: id(index), payload: Payload::Commands(Bytes(&body)) };
    wal.write(Step::Append(vec![entry]))
}

fn filled(entries: u64) -> FaultDisk {
    let disk = FaultDisk::default();
    let (mut wal, _) = open(&disk).unwrap();
    for index in 1..=entries {
        append(&mut wal, index).unwrap();
    }
    drop(wal);
    disk
}

// How many entries there are; all of them must be whole and right.
fn count(wal: &Wal) -> u64 {
    let range = wal.entries();
    let mut next = range.start;
    wal.read(range.clone(), |entry| {
        assert_eq!(entry.payload, Payload::Commands(Bytes(&body(entry.id.index))));
        assert_eq!(entry.id, id(next));
        next += 1;
        Ok(())
    })
    .unwrap();
    assert_eq!(next, range.end);
    range.end - range.start
}

fn segments(disk: &FaultDisk) -> Vec<String> {
    // A copy, because a segment that is being used again may vanish between two looks.
    let disk = disk.copy();
    let is_used = |name: &String| disk.bytes_of(name)[..HEADER_BYTES].iter().any(|byte| *byte != 0);
    disk.names().into_iter().filter(|name| name.ends_with(".seg")).filter(is_used).collect()
}

#[test]
fn what_was_written_is_read_back_after_a_restart() {
    let disk = filled(40);
    assert!(segments(&disk).len() > 3, "the test spans segments: {:?}", segments(&disk));
    let (mut wal, found) = open(&disk).unwrap();
    assert_eq!((count(&wal), found.stamp), (40, Time::from_micros(40)));
    assert_eq!(found.appended.len(), 40);
    append(&mut wal, 41).unwrap();
    drop(wal);
    assert_eq!(count(&open(&disk).unwrap().0), 41);
}

#[test]
fn votes_truncations_and_purges_are_read_back() {
    let disk = filled(30);
    let vote = Ballot { term: 3, node: 1, committed: true };
    let (mut wal, _) = open(&disk).unwrap();
    wal.write(Step::Truncate(28)).unwrap();
    wal.set_committed(Some(id(27)));
    wal.write(Step::Vote(vote)).unwrap();
    append(&mut wal, 28).unwrap();
    wal.write(Step::Purge(id(20))).unwrap();
    wal.retire();
    drop(wal);
    let (wal, _) = open(&disk).unwrap();
    assert_eq!((wal.entries(), count(&wal)), (21..29, 8));
    let durable = wal.durable();
    assert_eq!((durable.vote, durable.purged), (Some(vote), Some(id(20))));
    assert_eq!((durable.committed, durable.last), (Some(id(27)), Some(id(28))));
}

#[test]
fn purged_segments_are_used_again() {
    let disk = FaultDisk::default();
    let (mut wal, _) = open(&disk).unwrap();
    for index in 1..=400 {
        append(&mut wal, index).unwrap();
        if index % 10 == 0 {
            wal.write(Step::Purge(id(index - 3))).unwrap();
            wal.retire();
        }
    }
    drop(wal);
    let kept = disk.names().len();
    assert!(kept < 12, "{kept} files are left");
    assert_eq!(count(&open(&disk).unwrap().0), 3);
}

#[test]
fn a_segment_that_is_used_again_keeps_nothing_of_its_old_life_over_a_crash() {
    let disk = filled(40);
    let (oldest, before) = (segments(&disk).remove(0), disk.copy());
    let (mut wal, _) = open(&disk).unwrap();
    wal.write(Step::Purge(id(35))).unwrap();
    wal.retire();
    let first = segment_name(wal.chain[0].number);
    drop(wal);
    // The process died when all that count no more were gone but the oldest one: the next start finds it.
    let retired: Vec<String> = segments(&before).into_iter().filter(|name| *name < first).collect();
    assert!(retired.len() > 1, "{retired:?}");
    for name in retired.iter().filter(|name| disk.names().contains(name)) {
        disk.remove(name).unwrap();
    }
    let file = disk.create(&oldest, SMALL).unwrap();
    file.write_at(&before.bytes_of(&oldest), 0).unwrap();
    file.sync().unwrap();
    disk.sync_names().unwrap();
    let (mut wal, _) = open(&disk).unwrap();
    while wal.prepared().unwrap().is_none() {}
    drop(wal);
    assert!(!disk.names().contains(&oldest), "it is used again");
    for left in [disk.after_crash(|| false), disk.after_crash(|| true)] {
        let (wal, _) = open(&left).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(wal.entries(), 36..41);
        count(&wal);
    }
}

#[test]
fn a_torn_tail_at_any_byte_keeps_every_frame_before_it() {
    let disk = filled(20);
    let names = segments(&disk);
    let (tip, before) = names.split_last().unwrap();
    let kept_before: u64 =
        before.iter().map(|name| complete_frames(&disk.bytes_of(name), name)).sum();
    assert!(kept_before > 0);
    let whole = disk.bytes_of(tip);
    let used = whole.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    // A segment is zeros before it is written, so that is what an unwritten tail looks like.
    for cut in HEADER_BYTES..=used {
        let torn = disk.copy();
        torn.edit(tip, |bytes| bytes[cut..].fill(0));
        let complete = complete_frames(&torn.bytes_of(tip), tip);
        let (mut wal, _) = open(&torn).unwrap_or_else(|error| panic!("cut {cut}: {error}"));
        let kept = count(&wal);
        assert_eq!(kept, kept_before + complete, "cut at {cut}");
        assert!(cut < used || kept == 20);
        append(&mut wal, kept + 1).unwrap();
        drop(wal);
        let (wal, _) = open(&torn).unwrap();
        assert_eq!(count(&wal), kept + 1, "cut at {cut}, and written to again");
    }
}

#[test]
fn a_first_page_that_was_synced_and_is_torn_is_refused() {
    let disk = filled(20);
    let tip = segments(&disk).pop().unwrap();
    let page = disk.bytes_of(&tip)[..HEADER_BYTES].iter().rposition(|byte| *byte != 0).unwrap();
    for cut in 0..=page {
        let torn = disk.copy();
        torn.edit(&tip, |bytes| bytes[cut..].fill(0));
        refused_for(&torn, &tip, &format!("zeros from {cut} on"));
    }
}

#[test]
fn a_file_cut_at_any_byte_is_refused() {
    let disk = filled(20);
    for name in segments(&disk) {
        for cut in 0..disk.bytes_of(&name).len() {
            let torn = disk.copy();
            torn.edit(&name, |bytes| bytes.truncate(cut));
            refused_for(&torn, &name, &format!("cut at {cut}"));
        }
    }
}

fn refused_for(disk: &FaultDisk, name: &str, what: &str) {
    match open(disk).map(|(wal, _)| count(&wal)) {
        Err(OpenError::Damaged { file, .. }) if file.ends_with(name) => {}
        other => panic!("{name}, {what}: {other:?}"),
    }
}

fn complete_frames(bytes: &[u8], name: &str) -> u64 {
    let number = super::segment::segment_number(name).unwrap();
    let (mut offset, mut frames) = (HEADER_BYTES, 0);
    while let Some(frame) = super::frame::frame_at(bytes, offset, IDENTITY.salt(number)) {
        offset += frame.bytes;
        frames += 1;
    }
    frames
}

#[test]
fn a_missing_segment_is_refused() {
    // The second log is its only segment: without it there is nothing but its identity and a prepared segment.
    for entries in [20, 3] {
        let disk = filled(entries);
        for name in segments(&disk) {
            let without = disk.copy();
            without.remove(&name).unwrap();
            refused_for(&without, &name, "removed");
        }
    }
}

#[test]
fn a_log_without_any_segment_is_refused() {
    let disk = filled(20);
    let tip = segments(&disk).pop().unwrap();
    for name in disk.names().into_iter().filter(|name| name.ends_with(".seg")) {
        disk.remove(&name).unwrap();
    }
    refused_for(&disk, &tip, "all removed");
}

#[test]
fn a_prepared_segment_that_is_gone_or_short_is_made_again() {
    let disk = filled(20);
    let used = segments(&disk);
    let spare = |name: &String| name.ends_with(".seg") && !used.contains(name);
    let spare = disk.names().into_iter().find(spare).unwrap();
    for cut in [None, Some(0), Some(5000)] {
        let disk = disk.copy();
        match cut {
            None => disk.remove(&spare).unwrap(),
            Some(cut) => disk.edit(&spare, |bytes| bytes.truncate(cut)),
        }
        let (mut wal, _) = open(&disk).unwrap();
        for index in 21..=40 {
            append(&mut wal, index).unwrap();
        }
        drop(wal);
        assert_eq!(count(&open(&disk).unwrap().0), 40);
    }
}

#[test]
fn a_flip_of_any_byte_is_refused_or_drops_only_the_last_frame() {
    let disk = filled(12);
    let names = segments(&disk);
    let mut refused = 0;
    for name in &names {
        let used = disk.bytes_of(name).iter().rposition(|byte| *byte != 0).unwrap() + 1;
        for at in (0..used).filter(|at| *at < 300 || *at >= HEADER_BYTES) {
            let flipped = disk.copy();
            flipped.edit(name, |bytes| bytes[at] ^= 0x10);
            match open(&flipped) {
                Ok((wal, _)) => {
                    let kept = count(&wal);
                    assert!(kept >= 11, "{name} flipped at {at}: {kept} of 12 entries are left");
                }
                Err(OpenError::Damaged { file, .. } | OpenError::Foreign { file, .. }) => {
                    assert!(file.ends_with(name), "{} is named for {name}", file.display());
                    refused += 1;
                }
                Err(other) => panic!("{name} flipped at {at}: {other}"),
            }
        }
    }
    assert!(refused > 900, "{refused} flips were refused");
}

#[test]
fn a_frame_that_was_synced_and_is_gone_from_the_newest_segment_is_refused() {
    for entries in 2..=12 {
        let disk = filled(entries);
        let tip = segments(&disk).pop().unwrap();
        let bytes = disk.bytes_of(&tip);
        if complete_frames(&bytes, &tip) < 2 {
            continue;
        }
        disk.edit(&tip, |bytes| bytes[HEADER_BYTES] ^= 1);
        refused_for(&disk, &tip, "its first frame is gone, and another follows");
        return;
    }
    panic!("no newest segment had two frames");
}

#[test]
fn a_frame_in_the_place_of_another_is_refused() {
    let disk = filled(0);
    let (mut wal, _) = open(&disk).unwrap();
    let mut frame = 0;
    for term in 1..=3 {
        let vote = Ballot { term, node: 1, committed: true };
        frame = usize::try_from(wal.write(Step::Vote(vote)).unwrap()).unwrap();
    }
    drop(wal);
    let tip = segments(&disk).pop().unwrap();
    disk.edit(&tip, |bytes| {
        bytes.copy_within(HEADER_BYTES..HEADER_BYTES + frame, HEADER_BYTES + frame)
    });
    refused_for(&disk, &tip, "a write went to the wrong place");
}

#[test]
fn frames_behind_a_first_page_that_is_gone_are_refused_even_if_no_note_tells_of_them() {
    let disk = filled(12);
    let tip = segments(&disk).pop().unwrap();
    disk.edit(IDENTITY_FILE, |bytes| bytes[HEADER_BYTES..].fill(0));
    disk.edit(&tip, |bytes| bytes[..HEADER_BYTES].fill(0));
    refused_for(&disk, &tip, "its first page is gone, and so are the notes");
}

#[test]
fn a_file_in_the_place_of_a_segment_is_foreign() {
    let disk = filled(3);
    let file = disk.create(&segment_name(99), 0).unwrap();
    file.write_at(b"#!/bin/sh\necho hello\n", 0).unwrap();
    assert!(matches!(open(&disk).map(|_| ()), Err(OpenError::Foreign { .. })));
}

// How many syncs failed the log itself, and not the thread that prepares segments.
fn failed(wal: &Wal) -> u64 {
    wal.alarm.meters.errors().iter().filter(|(of, _)| *of == "sync").map(|(_, count)| count).sum()
}

#[test]
fn a_failed_sync_is_written_again_elsewhere() {
    let disk = filled(3);
    let (mut wal, _) = open(&disk).unwrap();
    for index in 4..10 {
        let failures = index % 3;
        let before = (segments(&disk).last().cloned(), failed(&wal));
        disk.set(|faults| faults.sync_failures = u32::try_from(failures).unwrap());
        append(&mut wal, index).unwrap();
        let after = (segments(&disk).last().cloned(), failed(&wal));
        assert!(before.1 == after.1 || before.0 < after.0, "not where it failed");
    }
    assert!(failed(&wal) > 0, "no sync of a frame failed");
    // Without a clean end, and without anything that was not synced.
    assert_eq!(count(&open(&disk.after_crash(|| false)).unwrap().0), 9);
    assert_eq!(count(&open(&disk.after_crash(|| true)).unwrap().0), 9);
    drop(wal);
    assert_eq!(count(&open(&disk).unwrap().0), 9);
}

#[test]
fn a_frame_that_only_memory_has_is_made_to_last_before_it_counts() {
    let disk = filled(3);
    let (mut wal, _) = open(&disk).unwrap();
    let alarm = wal.alarm.clone();
    // The sync fails and the process dies before it can write again.
    disk.set(|faults| (faults.sync_failures, faults.full) = (1, false));
    alarm.stop();
    assert_eq!(append(&mut wal, 4), Err(super::Stopped));
    drop(wal);
    // A new process reads the frame from memory and counts it; then the power goes off.
    let (mut wal, _) = open(&disk).unwrap();
    assert_eq!(count(&wal), 4);
    assert_eq!(count(&open(&disk.after_crash(|| false)).unwrap().0), 4, "before anything follows");
    append(&mut wal, 5).unwrap();
    assert_eq!(count(&open(&disk.after_crash(|| false)).unwrap().0), 5);
}

#[test]
fn a_segment_whose_note_failed_is_given_up_only_when_another_is_noted() {
    let disk = filled(3);
    let (mut wal, _) = open(&disk).unwrap();
    let alarm = wal.alarm.clone();
    // A new segment's first page is synced, the note that it was begun is not, and the process dies.
    wal.active = None;
    disk.set(|faults| faults.identity_sync_failures = 1);
    alarm.stop();
    assert_eq!(append(&mut wal, 4), Err(super::Stopped));
    // Whatever was given up is used for the next but one at the latest.
    for _ in 0..2 {
        while wal.prepared().unwrap().is_none() {}
    }
    drop(wal);
    for left in [disk.copy(), disk.after_crash(|| false), disk.after_crash(|| true)] {
        let (mut wal, _) = open(&left).unwrap();
        assert_eq!(count(&wal), 3);
        append(&mut wal, 4).unwrap();
        let (without, tip) = (left.copy(), segments(&left).pop().unwrap());
        without.remove(&tip).unwrap();
        refused_for(&without, &tip, "removed after the start noted it");
        // It happens again, and the process lives on.
        wal.active = None;
        left.set(|faults| faults.identity_sync_failures = 1);
        append(&mut wal, 5).unwrap();
        drop(wal);
        let tip = segments(&left).pop().unwrap();
        assert_eq!(count(&open(&left.after_crash(|| false)).unwrap().0), 5);
        left.remove(&tip).unwrap();
        refused_for(&left, &tip, "removed");
    }
}

#[test]
fn a_half_written_frame_is_written_again() {
    let disk = filled(3);
    let (mut wal, _) = open(&disk).unwrap();
    disk.set(|faults| faults.write_failures = 2);
    append(&mut wal, 4).unwrap();
    append(&mut wal, 5).unwrap();
    assert_eq!(count(&open(&disk.after_crash(|| true)).unwrap().0), 5);
}

// A small generator, so that a failure repeats by its seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

// Lives with one disk: writes until the power goes off, which the returned disk has survived. Acknowledged entries
// must be there at the next start, and nothing that was never written.
fn live_until_power_off(disk: &FaultDisk, acknowledged: u64, dice: &mut Dice) -> (FaultDisk, u64) {
    let alarm = alarm();
    let (mut wal, _) = open_with(disk, alarm.clone()).unwrap();
    let kept = wal.entries().end.max(1) - 1;
    assert!(kept == acknowledged || kept == acknowledged + 1, "{kept} of {acknowledged}");
    count(&wal);
    let mut last = kept;
    disk.power_off_after(5 + dice.roll() % 60, move || alarm.stop());
    loop {
        if dice.roll().is_multiple_of(8) {
            disk.set(|faults| faults.sync_failures = 1);
        }
        match append(&mut wal, last + 1) {
            Ok(_) => last += 1,
            Err(super::Stopped) => break,
        }
        if dice.roll().is_multiple_of(10) && last > 5 {
            if wal.write(Step::Purge(id(last - 4))).is_err() {
                break;
            }
            wal.retire();
        }
    }
    let crashed = disk.after_crash(|| dice.roll().is_multiple_of(2));
    drop(wal);
    (crashed, last)
}

#[test]
fn the_power_may_go_off_at_any_moment() {
    for seed in 1..=20 {
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed));
        let mut disk = FaultDisk::default();
        let mut acknowledged = 0;
        for _ in 0..6 {
            (disk, acknowledged) = live_until_power_off(&disk, acknowledged, &mut dice);
        }
        let (wal, _) = open(&disk).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert!(wal.entries().end > acknowledged, "seed {seed}");
    }
}

// Begins a log, writes and purges until the power goes off. What was acknowledged.
fn begin_until_power_off(disk: &FaultDisk, operations: u64) -> u64 {
    let alarm = alarm();
    let told = alarm.clone();
    disk.power_off_after(operations, move || told.stop());
    let Ok((mut wal, _)) = open_with(disk, alarm) else { return 0 };
    let mut acknowledged = 0;
    loop {
        // Frames, first pages, and the notes of which segment was begun.
        if acknowledged % 8 == 1 {
            disk.set(|faults| (faults.identity_sync_failures, faults.sync_failures) = (1, 1));
        }
        if append(&mut wal, acknowledged + 1).is_err() {
            return acknowledged;
        }
        acknowledged += 1;
        if acknowledged % 6 == 0 {
            if wal.write(Step::Purge(id(acknowledged - 2))).is_err() {
                return acknowledged;
            }
            wal.retire();
        }
    }
}

#[test]
fn no_moment_of_a_logs_beginning_and_rotation_is_refused_after_a_crash() {
    for operations in 0..100 {
        let disk = FaultDisk::default();
        let acknowledged = begin_until_power_off(&disk, operations);
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(operations + 1));
        let left: [FaultDisk; 4] = [
            disk.after_crash(|| false),
            disk.after_crash(|| true),
            disk.after_crash(|| dice.roll().is_multiple_of(2)),
            // The process was killed, the system lives on.
            disk.copy(),
        ];
        for (kind, left) in left.iter().enumerate() {
            let at = format!("power off after {operations}, kind {kind}");
            let (wal, _) = open(left).unwrap_or_else(|error| panic!("{at}: {error}"));
            assert!(wal.entries().end.max(1) > acknowledged, "{at}: {acknowledged}");
            count(&wal);
        }
    }
}
