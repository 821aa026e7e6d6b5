//! Numbers of a pool at one moment, by group, for whoever shows them in another way than `/metrics`.
//!
//! Owns the values, and what may be asked of them: sums over groups, what came since an earlier moment,
//! quantiles. They are filled from the series that the exporters get, so that nothing disagrees with those.

use std::sync::Arc;

use crate::base::histogram::Bounds;
use crate::metrics::catalogue::Metric;
use crate::metrics::histograms::HistogramSample;
use crate::metrics::sample::PoolSample;
use crate::metrics::series::{LabelPair, SeriesValue, Sink};

/// What a pool has and has done so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct PoolNumbers {
    /// Every group that has a name so far, and `other` if it is in use.
    pub(crate) groups: Vec<GroupNumbers>,
    /// The cap of the pool.
    pub(crate) connections_max: u64,
    /// Ways out whose breaker is open.
    pub(crate) breakers_open: u64,
    pub(crate) addresses_down: u64,
    pub(crate) reaper_runs: u64,
    /// When the reaper last ran, in milliseconds since 1970.
    pub(crate) reaper_last_run: u64,
    /// Accounts whose group found no name left.
    pub(crate) groups_overflowed: u64,
}

impl PoolNumbers {
    pub(super) fn of(pool: &PoolSample, groups: Vec<GroupNumbers>) -> Self {
        Self {
            groups,
            connections_max: pool.connections_max,
            breakers_open: pool.breakers.iter().sum(),
            addresses_down: pool.addresses_down,
            reaper_runs: pool.reaper_runs,
            reaper_last_run: pool.reaper_last_run,
            groups_overflowed: pool.overflow,
        }
    }

    /// Returns the sums over the groups that are seen. Their name is empty.
    pub(crate) fn total(&self, sees: impl Fn(&str) -> bool) -> GroupNumbers {
        let mut total = GroupNumbers::default();
        for group in self.groups.iter().filter(|group| sees(&group.name)) {
            total.add(group);
        }
        // The cap of the pool bounds all groups together.
        total.connections_max = total.connections_max.min(self.connections_max);
        total
    }
}

/// What a group has and has done so far. Counters never go back.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct GroupNumbers {
    pub(crate) name: Arc<str>,
    /// Accounts by state.
    pub(crate) accounts: Counts,
    /// Accounts at their cap for which somebody waits.
    pub(crate) saturated: u64,
    /// Connections by state.
    pub(crate) connections: Counts,
    pub(crate) connections_max: u64,
    pub(crate) leases: u64,
    pub(crate) waiting: u64,
    /// How long the first that waits has done so, of the account where that is longest, in seconds.
    pub(crate) oldest_wait: f64,
    /// Acquires by result, and those that got a lease by the source of their connection.
    pub(crate) acquires: Counts,
    pub(crate) acquired: Counts,
    /// Releases by outcome.
    pub(crate) releases: Counts,
    /// Dials by result, of all data centres.
    pub(crate) opens: Counts,
    /// Closed connections by reason.
    pub(crate) closes: Counts,
    /// Errors of connections by kind.
    pub(crate) errors: Counts,
    /// Checks by result.
    pub(crate) checks: Counts,
    pub(crate) slow_acquires: u64,
    pub(crate) lease_leaks: u64,
    /// Floods by class, and how long they last in all, in seconds.
    pub(crate) floods: Counts,
    pub(crate) flood_seconds: u64,
    /// Quarantines by reason.
    pub(crate) quarantines: Counts,
    /// Calls by outcome.
    pub(crate) calls: Counts,
    /// Errors that the server answered with, by name; empty until the group has made a call.
    pub(crate) rpc_errors: Counts,
    pub(crate) updates_received: u64,
    /// When the last came, in seconds since 1970; 0 if none has.
    pub(crate) last_update: f64,
    pub(crate) updates_dropped: u64,
    pub(crate) updates_interrupted: u64,
    pub(crate) accounts_opened: u64,
    /// Accounts that the pool forgot, by reason.
    pub(crate) accounts_closed: Counts,
    /// Of acquires that got a lease and did not get it at once.
    pub(crate) acquire_wait: TimeBuckets,
    pub(crate) connection_open: TimeBuckets,
    pub(crate) lease_use: TimeBuckets,
    pub(crate) connection_age: TimeBuckets,
    /// Of calls that were sent and whose caller stayed.
    pub(crate) call: TimeBuckets,
}

impl GroupNumbers {
    pub(super) fn new(name: &Arc<str>) -> Self {
        Self { name: Arc::clone(name), ..Self::default() }
    }

    /// Acquires that got a lease at once, of those that got one: [`acquire_wait`](Self::acquire_wait) has the
    /// others.
    pub(crate) fn immediate_acquires(&self) -> u64 {
        self.acquired.total().saturating_sub(self.acquire_wait.count())
    }

    /// Adds those of another group. Of waits the longest counts, of times the latest.
    pub(crate) fn add(&mut self, other: &Self) {
        let mut other = other.clone();
        for (own, of_other) in self.counts().into_iter().zip(other.counts()) {
            own.1.add_all(of_other.1);
        }
        for (own, of_other) in self.singles().into_iter().zip(other.singles()) {
            *own.1 += *of_other.1;
        }
        for (own, of_other) in self.times().into_iter().zip(other.times()) {
            own.1.add_all(of_other.1);
        }
        self.oldest_wait = self.oldest_wait.max(other.oldest_wait);
        self.last_update = self.last_update.max(other.last_update);
    }

    /// What has a label, by the metric.
    fn counts(&mut self) -> [(&'static str, &mut Counts); 14] {
        [
            ("telepool_accounts", &mut self.accounts),
            ("telepool_connections", &mut self.connections),
            ("telepool_acquires_total", &mut self.acquires),
            ("telepool_acquired_connections_total", &mut self.acquired),
            ("telepool_releases_total", &mut self.releases),
            ("telepool_connection_opens_total", &mut self.opens),
            ("telepool_connection_closes_total", &mut self.closes),
            ("telepool_connection_errors_total", &mut self.errors),
            ("telepool_connection_checks_total", &mut self.checks),
            ("telepool_flood_waits_total", &mut self.floods),
            ("telepool_quarantines_total", &mut self.quarantines),
            ("telepool_calls_total", &mut self.calls),
            ("telepool_rpc_errors_total", &mut self.rpc_errors),
            ("telepool_account_pools_closed_total", &mut self.accounts_closed),
        ]
    }

    /// What has none and is whole, by the metric.
    fn singles(&mut self) -> [(&'static str, &mut u64); 11] {
        [
            ("telepool_accounts_saturated", &mut self.saturated),
            ("telepool_connections_max", &mut self.connections_max),
            ("telepool_leases", &mut self.leases),
            ("telepool_pending_acquires", &mut self.waiting),
            ("telepool_slow_acquires_total", &mut self.slow_acquires),
            ("telepool_lease_leaks_total", &mut self.lease_leaks),
            ("telepool_flood_wait_imposed_seconds_total", &mut self.flood_seconds),
            ("telepool_updates_received_total", &mut self.updates_received),
            ("telepool_updates_dropped_total", &mut self.updates_dropped),
            ("telepool_updates_interrupted_total", &mut self.updates_interrupted),
            ("telepool_account_pools_opened_total", &mut self.accounts_opened),
        ]
    }

    /// Histograms, by the metric.
    fn times(&mut self) -> [(&'static str, &mut TimeBuckets); 5] {
        [
            ("telepool_acquire_wait_seconds", &mut self.acquire_wait),
            ("telepool_connection_open_seconds", &mut self.connection_open),
            ("telepool_lease_use_seconds", &mut self.lease_use),
            ("telepool_connection_age_seconds", &mut self.connection_age),
            ("telepool_call_seconds", &mut self.call),
        ]
    }

    fn moments(&mut self) -> [(&'static str, &mut f64); 2] {
        [
            ("telepool_oldest_pending_seconds", &mut self.oldest_wait),
            ("telepool_last_update_timestamp_seconds", &mut self.last_update),
        ]
    }
}

/// Where the number of a metric is kept.
fn place<'a, T>(
    places: impl IntoIterator<Item = (&'static str, &'a mut T)>,
    metric: &Metric,
) -> &'a mut T {
    let mut places = places.into_iter();
    let found = places.find(|(name, _)| *name == metric.name);
    found.unwrap_or_else(|| panic!("BUG: {} has no place among the numbers", metric.name)).1
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "gauges that are whole were counted"
)]
impl Sink for GroupNumbers {
    fn put(&mut self, metric: &Metric, labels: &[LabelPair], value: SeriesValue<'_>) {
        let count = match value {
            SeriesValue::Histogram(sample) => return place(self.times(), metric).set(sample),
            SeriesValue::Gauge(value) if metric.is_in_seconds() => {
                *place(self.moments(), metric) = value;
                return;
            }
            SeriesValue::Gauge(value) => value as u64,
            SeriesValue::Counter(count) => count,
        };
        match labels.last() {
            Some((_, label)) => place(self.counts(), metric).add(label, count),
            None => *place(self.singles(), metric) = count,
        }
    }
}

/// Numbers by the value of a label.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts(Vec<(&'static str, u64)>);

impl Counts {
    /// Each value of the label, in the order in which it is exported.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = (&'static str, u64)> + '_ {
        self.0.iter().copied()
    }

    /// Of one value; of one that the label does not have, 0.
    pub(crate) fn of(&self, label: &str) -> u64 {
        self.iter().find(|(own, _)| *own == label).map_or(0, |(_, count)| count)
    }

    pub(crate) fn total(&self) -> u64 {
        self.iter().map(|(_, count)| count).sum()
    }

    fn add(&mut self, label: &'static str, count: u64) {
        match self.0.iter_mut().find(|(own, _)| *own == label) {
            Some((_, own)) => *own += count,
            None => self.0.push((label, count)),
        }
    }

    fn add_all(&mut self, other: &Self) {
        for (label, count) in other.iter() {
            self.add(label, count);
        }
    }
}

/// How often times fell into each bucket of a histogram.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct TimeBuckets {
    /// The upper bounds of all buckets but the last, in microseconds.
    bounds: Bounds,
    counts: Vec<u64>,
    /// What all times add up to, in seconds.
    pub(crate) sum: f64,
}

impl TimeBuckets {
    fn set(&mut self, sample: &HistogramSample) {
        self.bounds = sample.bounds;
        self.counts = sample.counts.counts[..=self.bounds.len()].to_vec();
        self.sum = sample.sum as f64 / 1e9;
    }

    fn add_all(&mut self, other: &Self) {
        if self.counts.is_empty() {
            self.clone_from(other);
            return;
        }
        for (own, count) in self.counts.iter_mut().zip(&other.counts) {
            *own += count;
        }
        self.sum += other.sum;
    }

    /// How many times there are.
    pub(crate) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Returns what came since an earlier moment.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let mut since = self.clone();
        for (count, before) in since.counts.iter_mut().zip(&earlier.counts) {
            *count = count.saturating_sub(*before);
        }
        since.sum = (self.sum - earlier.sum).max(0.0);
        since
    }

    /// Returns the time in seconds that this share of all does not exceed, beside so many more that took
    /// none; `None` if there are no times. Within a bucket times count as evenly spread, as Prometheus has
    /// it; of those above all bounds nothing is known but the highest bound.
    pub(crate) fn quantile(&self, share: f64, immediate: u64) -> Option<f64> {
        let all = immediate + self.count();
        let rank = share * all as f64;
        if all == 0 || rank <= immediate as f64 {
            return (all > 0).then_some(0.0);
        }
        let mut below = immediate as f64;
        let mut low = 0.0;
        for (bound, count) in self.bounds.iter().zip(&self.counts) {
            let (high, count) = (*bound as f64 / 1e6, *count as f64);
            if below + count >= rank {
                return Some(low + (high - low) * ((rank - below) / count));
            }
            below += count;
            low = high;
        }
        Some(low)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::account_id::AccountId;
    use crate::base::histogram::{Histogram, TIMES_US};
    use crate::manager::CallOutcome;
    use crate::metrics::prometheus::Prometheus;
    use crate::noop::NoopManager;
    use crate::pool::Pool;

    fn buckets(millis: &[u64]) -> TimeBuckets {
        let histogram = Histogram::seldom(TIMES_US);
        for millis in millis {
            histogram.record(Duration::from_millis(*millis));
        }
        let mut sample = HistogramSample::default();
        sample.update(&histogram);
        let mut buckets = TimeBuckets::default();
        buckets.set(&sample);
        buckets
    }

    #[test]
    fn a_quantile_lies_in_its_bucket_beside_those_that_took_no_time() {
        let buckets = buckets(&[600, 700, 800, 900]);
        assert_eq!(buckets.quantile(0.5, 0), Some(0.75));
        assert_eq!(buckets.quantile(1.0, 0), Some(1.0));
        assert_eq!(buckets.quantile(0.5, 4), Some(0.0));
        assert_eq!(buckets.quantile(0.75, 4), Some(0.75));
        assert_eq!(TimeBuckets::default().quantile(0.5, 0), None);
        assert_eq!(TimeBuckets::default().quantile(0.99, 3), Some(0.0));
        assert_eq!(self::buckets(&[60_000]).quantile(0.99, 0), Some(30.0), "at least that");
    }

    #[test]
    fn what_came_since_and_what_others_have_adds_up() {
        let (early, late) = (buckets(&[2, 700]), buckets(&[2, 2, 700, 40_000]));
        let since = late.since(&early);
        assert_eq!((since.count(), since.sum), (2, 40.002));
        let mut sum = TimeBuckets::default();
        sum.add_all(&since);
        sum.add_all(&early);
        assert_eq!((sum.counts, sum.bounds), (late.counts, late.bounds));
    }

    #[test]
    fn groups_add_up_also_if_one_lacks_a_label() {
        let mut group = GroupNumbers::new(&Arc::from("a"));
        (group.waiting, group.oldest_wait, group.last_update) = (1, 5.0, 7.0);
        group.calls.add("ok", 3);
        let mut other = GroupNumbers::new(&Arc::from("b"));
        (other.waiting, other.oldest_wait, other.last_update) = (2, 3.0, 9.0);
        other.calls.add("ok", 1);
        other.calls.add("lost", 1);
        (group.connections_max, other.connections_max) = (6, 6);
        let pool =
            PoolNumbers { groups: vec![group, other], connections_max: 10, ..Default::default() };
        let total = pool.total(|_| true);
        assert_eq!((total.waiting, total.oldest_wait, total.last_update), (3, 5.0, 9.0));
        assert_eq!((total.calls.of("ok"), total.calls.total()), (4, 5));
        assert_eq!(total.connections_max, 10);
        let seen = pool.total(|group| group == "b");
        assert_eq!((seen.waiting, seen.calls.of("ok"), seen.connections_max), (2, 1, 6));
    }
    /// Every series has its place, and the number there is the one that a scrape tells.
    #[tokio::test]
    async fn what_is_read_here_is_what_a_scrape_tells() {
        let pool = Pool::builder(NoopManager::new(2)).build().unwrap();
        let exporter = Prometheus::new(&pool).unwrap();
        exporter.expect_group("idle");
        let leases = [
            pool.acquire(AccountId::bot(1).unwrap()).await.unwrap(),
            pool.acquire(AccountId::bot(1).unwrap()).await.unwrap(),
        ];
        let groups = &pool.runtime().context.groups;
        let counters = groups.counters(groups.find("default"));
        for outcome in CallOutcome::ALL {
            counters.traffic.begin_call().end(outcome);
        }
        counters.traffic.count_error(0);
        counters.traffic.count_update();
        let numbers = exporter.numbers().await.unwrap().unwrap();
        let text = exporter.render();
        let mut told = 0;
        for mut group in numbers.groups.clone() {
            let name = Arc::clone(&group.name);
            let mut tell = |metric: &str, label: Option<&str>, value: &str| {
                let lines = text.lines().filter(|line| {
                    let labels = line.strip_prefix(metric).and_then(|it| it.strip_prefix('{'));
                    labels.is_some_and(|labels| {
                        labels.contains(&format!("group=\"{name}\""))
                            && label.is_none_or(|it| labels.contains(&format!("=\"{it}\"")))
                    })
                });
                let values = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
                told += 1;
                let sum: f64 = values.sum();
                assert_eq!(sum, value.parse::<f64>().unwrap(), "{metric} {label:?} of {name}");
            };
            for (metric, counts) in group.counts() {
                for (label, count) in counts.iter() {
                    tell(metric, Some(label), &count.to_string());
                }
            }
            group.singles().into_iter().for_each(|(it, count)| tell(it, None, &count.to_string()));
            group.moments().into_iter().for_each(|(it, value)| tell(it, None, &value.to_string()));
            for (metric, times) in group.times() {
                tell(&format!("{metric}_count"), None, &times.count().to_string());
                tell(&format!("{metric}_sum"), None, &times.sum.to_string());
            }
        }
        assert!(told > 150, "{told}");
        let total = numbers.total(|_| true);
        assert_eq!((total.leases, total.calls.total(), total.updates_received), (2, 8, 1));
        assert_eq!((total.rpc_errors.of("other"), total.immediate_acquires()), (1, 0));
        assert!(total.last_update > 1e9 && total.connections_max == 2);
        drop(leases);
        drop(pool);
        assert_eq!(exporter.numbers().await.unwrap(), None);
    }
}
