//! The snapshot: the pool at the moment, with what needs an operator.
//!
//! Owns the answer of `GET snapshot`, which the stream of events sends as well. It is made once for a sample
//! and for all who may see the same.

use axum::body::Bytes;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::api::error::ApiError;
use crate::http::api::numbers::{Numbers, Rates};
use crate::http::api::view::View;
use crate::http::api::{json, json_text};
use crate::http::monitor::{AlertKind, Sample, SampledNumbers, WindowRates, reason_label};
use crate::http::routes::seen_by;
use crate::metrics::Readiness;

/// The pool at the moment. Times are in milliseconds since 1970.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SnapshotPage {
    /// When it was sampled.
    at: u64,
    /// The version of the service.
    version: &'static str,
    /// When the panel began: counters may be older.
    started_at: u64,
    /// Whether the pool is being closed.
    closing: bool,
    /// What whoever asks may do and see.
    access: AccessView,
    readiness: ReadinessView,
    /// Of all groups that are seen.
    totals: Numbers,
    rates: Rates,
    groups: Vec<GroupView>,
    /// What needs an operator, the most urgent first.
    alerts: Vec<Alert>,
}

/// What whoever asks may do and see.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Access)]
struct AccessView {
    /// Who it is.
    name: String,
    /// What they may do: `read`, `operate`, `call`.
    scopes: Vec<&'static str>,
    /// The groups that they see; null means all.
    groups: Option<Vec<String>>,
    /// Whether they see phone numbers in full.
    phones: bool,
}

/// Whether the pool can serve anybody.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Readiness)]
struct ReadinessView {
    ready: bool,
    /// The same in words, with the reason.
    text: String,
}

/// One group.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Group)]
struct GroupView {
    name: String,
    totals: Numbers,
    rates: Rates,
}

/// Something that needs an operator.
#[derive(Debug, Serialize, ToSchema)]
struct Alert {
    /// What is wrong, as a word that programs may go by.
    kind: &'static str,
    /// How urgent it is: `page`, `warn` or `info`.
    severity: &'static str,
    /// What is so.
    text: String,
    /// What would help.
    remedy: &'static str,
    /// Since when it is so, in milliseconds since 1970.
    since: u64,
    /// How many are concerned.
    count: u64,
    filter: AlertFilter,
}

/// How the accounts that an alert is about are found in `GET accounts`.
#[derive(Debug, Serialize, ToSchema)]
struct AlertFilter {
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    /// If it is about one group only.
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
}

/// The pool at the moment: its numbers and rates, in all and by group, and what needs an operator. Sampled
/// once a second.
#[utoipa::path(
    get,
    path = "/snapshot",
    tag = "numbers",
    responses((status = 200, description = "The pool at the moment", body = SnapshotPage))
)]
pub(super) async fn get_snapshot(view: View) -> Result<Response, ApiError> {
    render(&view, &view.sample()).map(json_text)
}

/// Makes the text of a snapshot, once for all who may see the same.
pub(super) fn render(view: &View, sample: &Sample) -> Result<Bytes, ApiError> {
    sample.rendered.get_or_make(&view.key(), || json(&snapshot(view, sample)))
}

fn snapshot(view: &View, sample: &Sample) -> SnapshotPage {
    let (now, earlier) = view.sum(sample, None);
    let whole = match view.sees_all() {
        true => [sample.breakers_open, sample.addresses_down],
        false => [0; 2],
    };
    let access = view.access();
    let groups = sample.groups.iter().filter(|group| view.sees(&group.name));
    SnapshotPage {
        at: sample.at,
        version: env!("CARGO_PKG_VERSION"),
        started_at: view.panel.monitor.started_at,
        closing: sample.closing_since.is_some(),
        access: AccessView {
            name: access.name.to_string(),
            scopes: access.scopes.iter().map(|scope| scope.label()).collect(),
            groups: access.groups.as_ref().map(|it| it.iter().map(ToString::to_string).collect()),
            phones: access.phones,
        },
        readiness: readiness(view, sample, &now),
        totals: Numbers::of(&now, whole),
        rates: WindowRates::between(&earlier, &now, sample.window).into(),
        groups: groups
            .map(|group| GroupView {
                name: group.name.to_string(),
                totals: Numbers::of(&group.now, [0; 2]),
                rates: WindowRates::between(&group.earlier, &group.now, sample.window).into(),
            })
            .collect(),
        alerts: alerts(view, sample),
    }
}

/// Whoever sees some groups only is told of these alone.
fn readiness(view: &View, sample: &Sample, now: &SampledNumbers) -> ReadinessView {
    if view.sees_all() {
        let text = seen_by(view.access(), sample.readiness.clone()).to_string();
        return ReadinessView { ready: sample.readiness == Readiness::Ready, text };
    }
    let (known, serving) = (now.known(), now.serving());
    let (ready, text) = match sample.closing_since {
        Some(_) => (false, "closing".to_owned()),
        None if known == 0 || serving > 0 => (true, "ready".to_owned()),
        None => (false, format!("nobody serves: all {known} accounts are out of service or rest")),
    };
    ReadinessView { ready, text }
}

/// What is wrong with the groups that are seen, each kind once.
fn alerts(view: &View, sample: &Sample) -> Vec<Alert> {
    /// How often it was found, since when, and in which group, if in one only.
    type Found = ((AlertKind, Option<usize>), u64, u64, Option<String>);
    let mut found: Vec<Found> = Vec::new();
    for group in sample.groups.iter().filter(|group| view.sees(&group.name)) {
        for alarm in &group.alerts {
            let key = (alarm.kind, alarm.reason);
            match found.iter_mut().find(|(known, ..)| *known == key) {
                Some((_, count, since, group)) => {
                    *count += alarm.count;
                    *since = alarm.since.min(*since);
                    *group = None;
                }
                None => found.push((key, alarm.count, alarm.since, Some(group.name.to_string()))),
            }
        }
    }
    let mut whole = |kind, count, since: Option<u64>| {
        found.extend(since.map(|since| ((kind, None), count, since, None)));
    };
    if view.sees_all() {
        whole(AlertKind::BreakerOpen, sample.breakers_open, sample.breakers_since);
        whole(AlertKind::AddressDown, sample.addresses_down, sample.addresses_since);
    }
    whole(AlertKind::Closing, 1, sample.closing_since);
    let mut alerts: Vec<Alert> = found
        .into_iter()
        .map(|((kind, reason), count, since, group)| Alert {
            kind: kind.label(),
            severity: kind.severity(),
            text: kind.text(count, reason),
            remedy: kind.remedy(reason),
            since,
            count,
            filter: AlertFilter { state: kind.state(), reason: reason.map(reason_label), group },
        })
        .collect();
    let urgency =
        |alert: &Alert| ["page", "warn", "info"].iter().position(|it| *it == alert.severity);
    alerts.sort_by_key(|alert| (urgency(alert), alert.since));
    alerts
}
