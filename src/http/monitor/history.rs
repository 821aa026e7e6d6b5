//! The history: the last hour, second by second.
//!
//! Owns its memory. Each series of a group is a column of 3,600 numbers of 16 bits, made when it first has
//! something to hold: 7.2 kB. A group has up to 60 of them, 432 kB; one that does what most do has 20, 144 kB.
//! With all 65 groups and every series in use the history takes 28 MB.
//!
//! The numbers are rounded to 11 significant bits, 0.05 %: whole ones up to 2,048 are exact.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::base::clock::millis;
use crate::connection::{CloseReason, ConnectionState};
use crate::http::monitor::numbers::{BUCKETS, Buckets, SampledNumbers, quantile, since};
use crate::manager::CallOutcome;
use crate::stats::AcquireEnd;

/// How many seconds are kept.
pub(crate) const SECONDS: usize = 3_600;

/// The series of a group, in the order of their columns: gauges, and what was done in the second.
const STATES: usize = ConnectionState::ALL.len();
const WAITING: usize = STATES;
const LEASES: usize = STATES + 1;
/// In milliseconds.
const OLDEST_WAIT: usize = STATES + 2;
const GAUGES: usize = STATES + 3;
const ACQUIRES_OK: usize = GAUGES;
const ACQUIRES: usize = GAUGES + 1;
const OPENS: usize = ACQUIRES + AcquireEnd::ALL.len();
const CLOSES: usize = OPENS + 2;
const FLOODS: usize = CLOSES + CloseReason::ALL.len();
const UPDATES: usize = FLOODS + 1;
const CALLS: usize = UPDATES + 1;
/// Acquires that waited, by how long; of the others there is only the number of all.
const WAITS: usize = CALLS + CallOutcome::ALL.len();
const COLUMNS: usize = WAITS + BUCKETS;

/// A whole number in 16 bits: its eleven highest, the first of them understood, and in six how far they are
/// shifted, plus one. What needs no more than eleven is itself.
fn pack(number: u64) -> u16 {
    let shift = (64 - number.leading_zeros()).saturating_sub(11);
    if shift == 0 {
        return u16::try_from(number).expect("BUG: eleven bits fit");
    }
    // Rounded to the nearest, which may be the next power of two.
    let high = (number >> (shift - 1)).div_ceil(2);
    let (high, shift) = if high == 1 << 11 { (1 << 10, shift + 1) } else { (high, shift) };
    if shift > SHIFT_MAX {
        return pack(u64::MAX << SHIFT_MAX);
    }
    let packed = u64::from(shift + 1) << 10 | (high & 0x3ff);
    u16::try_from(packed).expect("BUG: sixteen bits fit")
}

/// Beyond this a number has more than 64 bits.
const SHIFT_MAX: u32 = 53;

fn unpack(packed: u16) -> u64 {
    if packed < 1 << 11 {
        return packed.into();
    }
    let shift = (u32::from(packed) >> 10) - 1;
    u64::from(packed & 0x3ff | 0x400) << shift
}

/// One series of a group: the second `n` is at `n % SECONDS`.
type Column = Option<Box<[u16; SECONDS]>>;

/// The columns of one group.
#[derive(Debug)]
struct GroupColumns {
    name: Arc<str>,
    columns: [Column; COLUMNS],
}

impl GroupColumns {
    fn put(&mut self, column: usize, at: usize, number: u64) {
        let packed = pack(number);
        match &mut self.columns[column] {
            Some(column) => column[at] = packed,
            empty if packed != 0 => empty.insert(Box::new([0; SECONDS]))[at] = packed,
            _ => {}
        }
    }

    fn number(&self, column: usize, at: usize) -> u64 {
        self.columns[column].as_ref().map_or(0, |column| unpack(column[at]))
    }
}

/// The last hour.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// When each second was sampled, in milliseconds since 1970, and how many milliseconds it lasted.
    seconds: VecDeque<(u64, u32)>,
    /// How many seconds have left the history.
    gone: usize,
    groups: Vec<GroupColumns>,
}

/// A series: its name, and a number for each step, or none where nothing is known.
pub(crate) type Series = (String, Vec<Option<f64>>);

/// A part of the history.
#[derive(Debug, PartialEq)]
pub(crate) struct Excerpt {
    /// When each step ended, in milliseconds since 1970.
    pub(crate) at: Vec<u64>,
    pub(crate) series: Vec<Series>,
}

impl History {
    /// Adds a second: of each group what it has, and what it has done since the sample before.
    pub(super) fn push<'a>(
        &mut self,
        at: u64,
        groups: impl Iterator<Item = (&'a Arc<str>, &'a SampledNumbers, &'a SampledNumbers)>,
    ) {
        let last = self.seconds.back().map(|(last, _)| at.saturating_sub(*last));
        let lasted = last.map_or(1000, |last| u32::try_from(last).unwrap_or(u32::MAX).max(1));
        if self.seconds.len() == SECONDS {
            self.seconds.pop_front();
            self.gone += 1;
        }
        self.seconds.push_back((at, lasted));
        let place = (self.gone + self.seconds.len() - 1) % SECONDS;
        // What is left of the hour before goes, also of a group that has gone.
        for column in self.groups.iter_mut().flat_map(|group| group.columns.iter_mut().flatten()) {
            column[place] = 0;
        }
        for (name, now, last) in groups {
            let known = self.groups.iter().position(|group| group.name == *name);
            let known = known.unwrap_or_else(|| {
                let columns = [const { None }; COLUMNS];
                self.groups.push(GroupColumns { name: Arc::clone(name), columns });
                self.groups.len() - 1
            });
            self.groups[known].add(place, now, last);
        }
    }

    /// Returns what was since a time, of the groups that are meant and in steps of so many seconds. What is
    /// done is per second; of what waits a step has the most, and of other numbers the mean.
    pub(crate) fn excerpt(&self, from: u64, step: usize, meant: impl Fn(&str) -> bool) -> Excerpt {
        let first = self.seconds.partition_point(|(at, _)| *at <= from);
        // Steps begin at the same seconds whoever asks, and when.
        let first = (self.gone + first).next_multiple_of(step.max(1));
        let end = self.gone + self.seconds.len();
        let groups: Vec<_> = self.groups.iter().filter(|group| meant(&group.name)).collect();
        let mut excerpt = Excerpt { at: Vec::new(), series: Vec::new() };
        let mut steps = Vec::new();
        let mut start = first;
        while start < end {
            let seconds = start..(start + step.max(1)).min(end);
            excerpt.at.push(self.seconds[seconds.end - 1 - self.gone].0);
            steps.push(seconds.clone());
            start = seconds.end;
        }
        let sums: Vec<StepSums> =
            steps.into_iter().map(|seconds| StepSums::of(self, &groups, seconds)).collect();
        excerpt.series = series_of(&sums);
        excerpt
    }
}

impl GroupColumns {
    fn add(&mut self, at: usize, now: &SampledNumbers, last: &SampledNumbers) {
        for (state, count) in now.connections.iter().enumerate() {
            self.put(state, at, *count);
        }
        self.put(WAITING, at, now.waiting);
        self.put(LEASES, at, now.leases);
        let oldest = std::time::Duration::try_from_secs_f64(now.oldest_wait).unwrap_or_default();
        self.put(OLDEST_WAIT, at, millis(oldest));
        let come = |of: fn(&SampledNumbers) -> u64| of(now).saturating_sub(of(last));
        self.put(ACQUIRES_OK, at, come(|it| it.acquires_ok));
        let ends = since(&now.acquires, &last.acquires);
        ends.iter().enumerate().for_each(|(end, count)| self.put(ACQUIRES + end, at, *count));
        self.put(OPENS, at, come(SampledNumbers::opens_ok));
        self.put(OPENS + 1, at, come(SampledNumbers::opens_failed));
        let closes = since(&now.closes, &last.closes);
        closes.iter().enumerate().for_each(|(why, count)| self.put(CLOSES + why, at, *count));
        self.put(FLOODS, at, come(|it| it.floods.total()));
        self.put(UPDATES, at, come(|it| it.updates_received));
        let calls = since(&now.calls, &last.calls);
        calls.iter().enumerate().for_each(|(end, count)| self.put(CALLS + end, at, *count));
        let (_, waits) = now.waits_since(last);
        waits.iter().enumerate().for_each(|(bucket, count)| self.put(WAITS + bucket, at, *count));
    }
}

/// What a step adds up to.
struct StepSums {
    columns: [u64; COLUMNS],
    seconds: f64,
    samples: u64,
}

impl StepSums {
    fn of(history: &History, groups: &[&GroupColumns], seconds: std::ops::Range<usize>) -> Self {
        let mut sums = Self { columns: [0; COLUMNS], seconds: 0.0, samples: 0 };
        for second in seconds {
            let (_, lasted) = history.seconds[second - history.gone];
            sums.seconds += f64::from(lasted) / 1000.0;
            sums.samples += 1;
            let mut waiting = 0;
            for group in groups {
                let number = |column| group.number(column, second % SECONDS);
                for column in (0..COLUMNS).filter(|it| !matches!(*it, WAITING | OLDEST_WAIT)) {
                    sums.columns[column] += number(column);
                }
                waiting += number(WAITING);
                let oldest = &mut sums.columns[OLDEST_WAIT];
                *oldest = number(OLDEST_WAIT).max(*oldest);
            }
            sums.columns[WAITING] = waiting.max(sums.columns[WAITING]);
        }
        sums
    }

    fn wait(&self, share: f64) -> Option<f64> {
        let waits: Buckets = std::array::from_fn(|bucket| self.columns[WAITS + bucket]);
        let at_once = self.columns[ACQUIRES_OK].saturating_sub(waits.iter().sum());
        quantile(share, at_once, &waits)
    }
}

fn series_of(steps: &[StepSums]) -> Vec<Series> {
    let all = |of: &dyn Fn(&StepSums) -> Option<f64>| steps.iter().map(of).collect::<Vec<_>>();
    let mean =
        |column: usize| all(&|step| Some(step.columns[column] as f64 / step.samples.max(1) as f64));
    let rate =
        |column: usize| all(&|step| Some(rounded(step.columns[column] as f64 / step.seconds)));
    let mut series: Vec<Series> = Vec::new();
    for state in ConnectionState::ALL {
        series.push((format!("connections.{}", state.label()), mean(state as usize)));
    }
    series.push(("waiting".into(), all(&|step| Some(step.columns[WAITING] as f64))));
    series.push(("leases".into(), mean(LEASES)));
    let oldest = all(&|step| Some(step.columns[OLDEST_WAIT] as f64 / 1000.0));
    series.push(("oldest_wait_s".into(), oldest));
    series.push(("acquires.ok".into(), rate(ACQUIRES_OK)));
    for end in AcquireEnd::ALL {
        series.push((format!("acquires.{}", end.label()), rate(ACQUIRES + end as usize)));
    }
    series.push(("opens.ok".into(), rate(OPENS)));
    series.push(("opens.failed".into(), rate(OPENS + 1)));
    for reason in CloseReason::ALL {
        series.push((format!("closes.{}", reason.label()), rate(CLOSES + reason as usize)));
    }
    series.push(("floods".into(), rate(FLOODS)));
    series.push(("updates".into(), rate(UPDATES)));
    for outcome in CallOutcome::ALL {
        series.push((format!("calls.{}", outcome.label()), rate(CALLS + outcome as usize)));
    }
    series.push(("wait_p50_s".into(), all(&|step| step.wait(0.5))));
    series.push(("wait_p99_s".into(), all(&|step| step.wait(0.99))));
    series
}

/// To a thousandth: more digits are noise, and would be sent.
fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_packed_number_is_near_and_a_small_one_is_exact(bits in 0u32..=64, number: u64) {
            let number = number.checked_shr(64 - bits).unwrap_or_default();
            let near = unpack(pack(number));
            prop_assert!(near.abs_diff(number) as f64 <= number as f64 / 2048.0, "{number}: {near}");
            prop_assert!(number > 2048 || near == number);
        }
    }

    fn second(
        history: &mut History,
        at: u64,
        name: &Arc<str>,
        now: &SampledNumbers,
        last: &SampledNumbers,
    ) {
        history.push(at, std::iter::once((name, now, last)));
    }

    fn of(excerpt: &Excerpt, name: &str) -> Vec<Option<f64>> {
        excerpt.series.iter().find(|(known, _)| known == name).unwrap().1.clone()
    }

    #[test]
    fn what_is_done_is_told_per_second_and_what_waits_by_its_most() {
        let mut history = History::default();
        let name: Arc<str> = Arc::from("a");
        let mut last = SampledNumbers::default();
        for number in 0..10 {
            let mut now = SampledNumbers {
                acquires_ok: last.acquires_ok + number,
                waiting: 10 - number,
                oldest_wait: 0.5,
                leases: number,
                ..last.clone()
            };
            now.waits[3] += number / 2;
            second(&mut history, 1000 * (number + 1), &name, &now, &last);
            last = now;
        }
        let all = history.excerpt(0, 1, |_| true);
        assert_eq!(all.at.len(), 10);
        assert_eq!(of(&all, "acquires.ok")[..3], [Some(0.0), Some(1.0), Some(2.0)]);
        assert_eq!(of(&all, "wait_p50_s")[0], None, "nobody has asked");
        assert_eq!(of(&all, "wait_p50_s")[1], Some(0.0));
        let fives = history.excerpt(0, 5, |_| true);
        assert_eq!(fives.at, [5000, 10_000]);
        assert_eq!(of(&fives, "acquires.ok"), [Some(2.0), Some(7.0)]);
        assert_eq!(of(&fives, "waiting"), [Some(10.0), Some(5.0)]);
        assert_eq!(of(&fives, "leases"), [Some(2.0), Some(7.0)]);
        assert_eq!(of(&fives, "oldest_wait_s"), [Some(0.5); 2]);
        assert_eq!(history.excerpt(7000, 1, |_| true).at, [8000, 9000, 10_000]);
        assert_eq!(of(&history.excerpt(0, 1, |_| false), "leases")[9], Some(0.0));
    }

    #[test]
    fn an_hour_is_kept_and_of_groups_that_have_gone_nothing_older_comes_back() {
        let mut history = History::default();
        let (kept, gone): (Arc<str>, Arc<str>) = (Arc::from("kept"), Arc::from("gone"));
        let now = SampledNumbers { leases: 3, ..Default::default() };
        second(&mut history, 1000, &gone, &now, &now);
        for number in 1..=SECONDS as u64 + 5 {
            second(&mut history, 1000 * (number + 1), &kept, &now, &now);
        }
        let all = history.excerpt(0, 1, |name| name == "gone");
        assert_eq!(all.at.len(), SECONDS);
        assert!(of(&all, "leases").iter().all(|it| *it == Some(0.0)));
        let all = history.excerpt(0, 60, |name| name == "kept");
        assert!(of(&all, "leases").iter().all(|it| *it == Some(3.0)));
    }

    #[test]
    fn a_group_takes_no_more_than_is_said() {
        const { assert!(COLUMNS <= 60) };
        assert_eq!(size_of::<[u16; SECONDS]>(), 7_200);
    }
}
