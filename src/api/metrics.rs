//! What the API answers and what it stands on, as metrics. Routes are named as the document names them; ids are never labels.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use warp::http::{Method, StatusCode};

use super::route_table::{Operation, RouteTable};

/// Edges of the buckets of a request's time; half a second is the objective's.
const REQUEST_SECONDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Edges of the buckets of a dependency's answer; a quarter of a second is the alert's.
const CHECK_SECONDS: [f64; 8] = [0.001, 0.005, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0];
/// The route of whatever is not in the document: pages, paths that do not exist, methods that a path does not take.
const OTHER: &str = "other";
/// The classes of answers. There are no others: nothing here redirects.
const STATUSES: [&str; 3] = ["2xx", "4xx", "5xx"];

/// What kind of request it is: each has a time of its own that it may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// A tenant's request.
    Api,
    /// A tenant's file, which takes as long as it is long.
    Upload,
    /// An operator's request.
    Admin,
    /// A delivery of Meta or of a relay.
    Webhook,
    /// Health, metrics and pages.
    Probe,
}

impl Class {
    const ALL: [Self; 5] = [Self::Api, Self::Upload, Self::Admin, Self::Webhook, Self::Probe];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Upload => "upload",
            Self::Admin => "admin",
            Self::Webhook => "webhook",
            Self::Probe => "probe",
        }
    }

    /// Tells the class of a path, be it an operation's or what somebody asked for.
    fn of(path: &str) -> Self {
        if path.starts_with("/v1/campaigns/") && path.ends_with("/recipients") {
            Self::Upload
        } else if path.starts_with("/v1/") {
            Self::Api
        } else if path.starts_with("/admin/") {
            Self::Admin
        } else if path.starts_with("/webhooks/") {
            Self::Webhook
        } else {
            Self::Probe
        }
    }
}

/// What the process cannot work without, or only worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needed {
    /// Holds every fact.
    PostgreSql,
    /// Speeds things up.
    Redis,
    /// Wakes owners.
    RabbitMq,
}

impl Needed {
    const ALL: [Self; 3] = [Self::PostgreSql, Self::Redis, Self::RabbitMq];

    const fn as_str(self) -> &'static str {
        match self {
            Self::PostgreSql => "postgresql",
            Self::Redis => "redis",
            Self::RabbitMq => "rabbitmq",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    class: &'static str,
    method: String,
    route: String,
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClassLabel {
    class: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DependencyLabel {
    dependency: &'static str,
}

/// The metrics of the API. Clones share the counters.
#[derive(Clone)]
pub struct Metrics {
    requests: Family<RequestLabels, Counter>,
    seconds: Family<ClassLabel, Histogram, fn() -> Histogram>,
    up: Family<DependencyLabel, Gauge>,
    checks: Family<DependencyLabel, Histogram, fn() -> Histogram>,
}

impl Metrics {
    /// Registers the metrics and gives each documented operation its zeroes.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            requests: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(REQUEST_SECONDS)),
            up: Family::default(),
            checks: Family::new_with_constructor(|| Histogram::new(CHECK_SECONDS)),
        };
        registry.register(
            "malote_http_requests",
            "Requests by the operation's route, its method, its kind and the class of the answer",
            metrics.requests.clone(),
        );
        registry.register(
            "malote_http_request_seconds",
            "Time from a request's head to its answer's, by kind",
            metrics.seconds.clone(),
        );
        registry.register(
            "malote_dependency_up",
            "1 while the server answers this process, 0 while it does not",
            metrics.up.clone(),
        );
        registry.register(
            "malote_dependency_check_seconds",
            "Time of a look whether the server answers",
            metrics.checks.clone(),
        );
        metrics.show_zeros();
        metrics
    }

    fn show_zeros(&self) {
        for operation in RouteTable::read().operations() {
            for status in STATUSES {
                drop(self.requests.get_or_create(&labels(operation, status)));
            }
        }
        for class in Class::ALL.map(Class::as_str) {
            drop(self.seconds.get_or_create(&ClassLabel { class }));
        }
        for dependency in Needed::ALL.map(Needed::as_str) {
            // Nobody starts without them; Redis is looked at in a moment.
            self.up.get_or_create(&DependencyLabel { dependency }).set(1);
            drop(self.checks.get_or_create(&DependencyLabel { dependency }));
        }
    }

    /// Counts an answered request; `operation` is none where the path or the method is nobody's.
    pub(super) fn answered(
        &self,
        operation: Option<&Operation>,
        (method, path): (&Method, &str),
        status: StatusCode,
        took: Duration,
    ) {
        let answer = class_of(status);
        let labels = operation.map_or_else(
            || RequestLabels {
                class: Class::of(path).as_str(),
                method: known(method).to_owned(),
                route: OTHER.to_owned(),
                status: answer,
            },
            |operation| labels(operation, answer),
        );
        let class = labels.class;
        self.requests.get_or_create(&labels).inc();
        let seconds = self.seconds.get_or_create(&ClassLabel { class });
        seconds.observe(took.as_secs_f64());
    }

    /// Notes how a dependency answered.
    pub(super) fn checked(&self, needed: Needed, is_up: bool, took: Duration) {
        let dependency = needed.as_str();
        let label = DependencyLabel { dependency };
        self.up.get_or_create(&label).set(i64::from(is_up));
        self.checks.get_or_create(&label).observe(took.as_secs_f64());
    }
}

fn labels(operation: &Operation, status: &'static str) -> RequestLabels {
    RequestLabels {
        class: Class::of(&operation.path).as_str(),
        method: operation.method.clone(),
        route: operation.path.clone(),
        status,
    }
}

fn class_of(status: StatusCode) -> &'static str {
    match status.as_u16() {
        ..400 => STATUSES[0],
        400..500 => STATUSES[1],
        _ => STATUSES[2],
    }
}

/// Anybody may invent a method: those that nothing here takes are one.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "OTHER",
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    fn text_of(registry: &Registry) -> String {
        let mut text = String::new();
        encode(&mut text, registry).expect("text");
        text
    }

    #[test]
    fn an_operation_is_named_without_its_ids() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let path = "/v1/campaigns/0198f2c0-0000-7000-8000-000000000000/launch";
        let table = RouteTable::read();
        let (found, took) = (table.find("POST", path), Duration::from_millis(400));
        metrics.answered(
            found,
            (&Method::POST, path),
            StatusCode::SERVICE_UNAVAILABLE,
            took,
        );
        let text = text_of(&registry);
        let counted = "malote_http_requests_total{class=\"api\",method=\"POST\",route=\"/v1/campaigns/{id}/launch\",status=\"5xx\"} 1";
        for line in [
            counted,
            "malote_http_request_seconds_bucket{le=\"0.25\",class=\"api\"} 0",
            "malote_http_request_seconds_bucket{le=\"0.5\",class=\"api\"} 1",
            "malote_dependency_up{dependency=\"redis\"} 1",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line} in:\n{text}");
        }
        assert!(!text.contains("0198f2c0"), "{text}");
    }

    #[test]
    fn whatever_people_invent_makes_few_series() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let before = text_of(&registry).lines().count();
        for number in 0..1_000 {
            let method = Method::from_bytes(format!("M{number}").as_bytes()).expect("a method");
            let path = format!("/v1/{number}");
            metrics.answered(None, (&method, &path), StatusCode::NOT_FOUND, Duration::ZERO);
        }
        assert_eq!(text_of(&registry).lines().count(), before + 1);
    }

    #[test]
    fn a_file_is_no_plain_request_and_a_probe_is_nobodys() {
        let of = |path| Class::of(path).as_str();
        assert_eq!(of("/v1/campaigns/{id}/recipients"), "upload");
        assert_eq!(of("/v1/campaigns/{id}"), "api");
        assert_eq!(of("/v1/recipients/{recipient}/export"), "api");
        assert_eq!(of("/admin/v1/plans"), "admin");
        assert_eq!(of("/webhooks/meta"), "webhook");
        assert_eq!(of("/healthz"), "probe");
    }
}
