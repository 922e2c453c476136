//! What goes wrong.

/// A fault of the suite. Each strikes once a run, in an order drawn from the seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// `kill -9` of a node, and its restart.
    WorkerKilled,
    /// A node is frozen until another one owns its partitions, and thawed.
    WorkerFrozen,
    /// A node stops as it should, the other takes its partitions, and gives them back when it returns.
    PartitionsHandedOver,
    /// A tenant's `RateLimiter` panics.
    RateLimiterPanics,
    /// A tenant's `SendQueue` panics.
    SendQueuePanics,
    /// A tenant's `BillingCounter` panics.
    BillingCounterPanics,
    /// RabbitMQ stops and starts again; a node that is killed meanwhile starts first.
    BrokerStopped,
    /// `kill -9` of RabbitMQ.
    BrokerKilled,
    /// RabbitMQ loses its whole disk.
    BrokerWiped,
    /// PostgreSQL restarts, and a node with it.
    DatabaseRestarted,
    /// `kill -9` of PostgreSQL.
    DatabaseKilled,
    /// Redis is away for a while, in which a node is killed and starts again.
    RedisStopped,
    /// Meta is away for a while: connections refused and cut.
    MetaDown,
    /// Meta takes every message, and no answer comes back.
    AnswersLost,
    /// A tenant cancels its campaign while messages of it are being claimed.
    CampaignCancelled,
    /// A tenant suppresses recipients while messages are being claimed.
    RecipientsSuppressed,
    /// A tenant gets another plan while messages are being claimed.
    PlanChanged,
}

impl Fault {
    /// Every fault.
    pub(crate) const ALL: [Self; 17] = [
        Self::WorkerKilled,
        Self::WorkerFrozen,
        Self::PartitionsHandedOver,
        Self::RateLimiterPanics,
        Self::SendQueuePanics,
        Self::BillingCounterPanics,
        Self::BrokerStopped,
        Self::BrokerKilled,
        Self::BrokerWiped,
        Self::DatabaseRestarted,
        Self::DatabaseKilled,
        Self::RedisStopped,
        Self::MetaDown,
        Self::AnswersLost,
        Self::CampaignCancelled,
        Self::RecipientsSuppressed,
        Self::PlanChanged,
    ];

    /// Its name in tables and on the command line.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::WorkerKilled => "worker-killed",
            Self::WorkerFrozen => "worker-frozen",
            Self::PartitionsHandedOver => "partitions-handed-over",
            Self::RateLimiterPanics => "rate-limiter-panics",
            Self::SendQueuePanics => "send-queue-panics",
            Self::BillingCounterPanics => "billing-counter-panics",
            Self::BrokerStopped => "broker-stopped",
            Self::BrokerKilled => "broker-killed",
            Self::BrokerWiped => "broker-wiped",
            Self::DatabaseRestarted => "database-restarted",
            Self::DatabaseKilled => "database-killed",
            Self::RedisStopped => "redis-stopped",
            Self::MetaDown => "meta-down",
            Self::AnswersLost => "answers-lost",
            Self::CampaignCancelled => "campaign-cancelled",
            Self::RecipientsSuppressed => "recipients-suppressed",
            Self::PlanChanged => "plan-changed",
        }
    }

    /// Whether it belongs to one tenant alone, so that its neighbours must not notice.
    pub(crate) const fn is_of_one_tenant(self) -> bool {
        matches!(
            self,
            Self::RateLimiterPanics
                | Self::SendQueuePanics
                | Self::BillingCounterPanics
                | Self::CampaignCancelled
                | Self::RecipientsSuppressed
                | Self::PlanChanged
        )
    }
}
