//! The cell: what actix's supervisor does not give. A panic or fault in a handler costs the actor its state, never its
//! inbox: the message that failed goes to the front, the state is recovered after a wait, and the work goes on.
//!
//! Handlers are synchronous and short; I/O runs in tasks whose outcome comes back as a message. A dependency that does not
//! answer is no fault: recoveries and tasks wait for it by themselves.

mod failure;
mod policy;
mod reports;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use futures_util::FutureExt;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use crate::cell::policy::{Next, RestartPolicy};
use crate::gate::{Env, Parcel};
use crate::inbox::Receiver;
use crate::limits::{CELL_BUDGET, POISON_TRIES};
use crate::metrics::{Cause, Kind, Metrics};

pub(crate) use crate::cell::failure::{Failure, Fault, panic_text};
pub(crate) use crate::cell::reports::{Orders, Report};

/// What an actor does, without how it survives.
pub(crate) trait Behaviour: Sized + Unpin + 'static {
    /// What it is told.
    type Message: Send + Unpin + 'static;
    /// What outlives an incarnation.
    type Recipe: Clone + Unpin + 'static;
    /// Which child of a tenant it is.
    const KIND: Kind;

    /// Builds the state anew from the world. Waits by itself for dependencies.
    fn recover(recipe: Self::Recipe) -> impl Future<Output = Result<Self, Fault>> + 'static;
    /// Handles a message, which the cell keeps until it is taken. Never blocks.
    fn handle(&mut self, message: &mut Option<Self::Message>) -> Result<(), Fault>;
    /// Gets rid of a message that failed too often, losing nothing.
    fn bury(recipe: &Self::Recipe, message: Self::Message, reason: &str);
}

/// What a cell needs beside its behaviour.
pub(crate) struct Surroundings {
    /// What the supervisor wants.
    pub(crate) orders: watch::Receiver<Orders>,
    /// Where to report.
    pub(crate) report: Box<dyn Fn(Report) + Send>,
    /// Where to count.
    pub(crate) metrics: Metrics,
    /// How many cells of the node may recover at once.
    pub(crate) recoveries: Arc<Semaphore>,
}

/// An actor that survives its behaviour.
pub(crate) struct Cell<B: Behaviour> {
    recipe: B::Recipe,
    inbox: Option<Receiver<Parcel<B::Message>>>,
    around: Surroundings,
    generation: u64,
    state: Option<B>,
    retries: VecDeque<Env<B::Message>>,
    policy: RestartPolicy,
    handled: u32,
    clean: bool,
}

impl<B: Behaviour> Cell<B> {
    /// Makes a cell that recovers as soon as it is started.
    pub(crate) fn new(recipe: B::Recipe, inbox: Receiver<Parcel<B::Message>>, around: Surroundings) -> Self {
        let generation = around.orders.borrow().generation;
        Self {
            recipe,
            inbox: Some(inbox),
            around,
            generation,
            state: None,
            retries: VecDeque::new(),
            policy: RestartPolicy::new(),
            handled: 0,
            clean: false,
        }
    }

    fn report(&self, report: Report) {
        (self.around.report)(report);
    }

    /// Follows the supervisor's orders; tells whether there was something to follow.
    fn obey(&mut self, ctx: &mut Context<Self>) -> bool {
        let orders = *self.around.orders.borrow();
        if orders.stop {
            self.clean = true;
            self.state = None;
            ctx.stop();
        } else if orders.generation > self.generation {
            self.generation = orders.generation;
            self.policy.start_over();
            self.around.metrics.restarted(B::KIND, Cause::Escalation);
            self.recover(ctx, Duration::ZERO);
        } else {
            return false;
        }
        true
    }

    /// Builds the state anew after a wait; nothing is handled meanwhile.
    fn recover(&mut self, ctx: &mut Context<Self>, wait: Duration) {
        self.state = None;
        self.report(Report::Failing(B::KIND));
        let (mut orders, generation) = (self.around.orders.clone(), self.generation);
        let (recipe, recoveries) = (self.recipe.clone(), self.around.recoveries.clone());
        let future = async move {
            tokio::select! {
                biased;
                _ = orders.wait_for(|orders| orders.stop || orders.generation > generation) => None,
                revived = revive::<B>(recipe, recoveries, wait) => Some(revived),
            }
        };
        ctx.wait(
            future
                .into_actor(self)
                .map(|revived, cell, ctx| cell.revived(revived, ctx)),
        );
    }

    fn revived(&mut self, revived: Option<Result<B, Failure>>, ctx: &mut Context<Self>) {
        if self.obey(ctx) {
            return;
        }
        match revived {
            Some(Ok(state)) => {
                self.state = Some(state);
                self.report(Report::Working(B::KIND));
                self.retry(ctx);
            }
            Some(Err(failure)) => self.failed(failure, None, ctx),
            None => self.park(ctx),
        }
    }

    /// Handles again what failed before, as long as it goes well.
    fn retry(&mut self, ctx: &mut Context<Self>) {
        while self.state.is_some() {
            let Some(env) = self.retries.pop_front() else {
                return;
            };
            self.serve(env, ctx);
        }
    }

    fn serve(&mut self, mut env: Env<B::Message>, ctx: &mut Context<Self>) {
        let Some(state) = self.state.as_mut() else {
            self.retries.push_back(env);
            return;
        };
        let (waited, started) = (env.sent_at.elapsed(), Instant::now());
        let outcome = catch_unwind(AssertUnwindSafe(|| state.handle(&mut env.message)));
        self.around.metrics.handled(B::KIND, waited, started.elapsed());
        match outcome {
            Ok(Ok(())) => {
                self.policy.served();
                self.breathe(ctx);
            }
            Ok(Err(fault)) => self.failed(Failure::Fault(fault), Some(env), ctx),
            Err(panic) => self.failed(Failure::panicked(&*panic), Some(env), ctx),
        }
    }

    /// Lets the arbiter's other actors run after a while.
    fn breathe(&mut self, ctx: &mut Context<Self>) {
        self.handled += 1;
        if self.handled >= CELL_BUDGET {
            self.handled = 0;
            ctx.wait(tokio::task::yield_now().into_actor(self));
        }
    }

    fn failed(&mut self, failure: Failure, env: Option<Env<B::Message>>, ctx: &mut Context<Self>) {
        self.state = None;
        if failure == Failure::Fault(Fault::EpochGone) {
            self.report(Report::EpochGone(B::KIND));
            return self.park(ctx);
        }
        #[cfg(feature = "fault-injection")]
        match crate::faults::Deed::of_panic(&failure.text()) {
            Some(crate::faults::Deed::Stop) => return ctx.stop(),
            Some(crate::faults::Deed::Vanish) => std::panic::panic_any("a cell unwinds, on demand"),
            Some(crate::faults::Deed::Panic | crate::faults::Deed::Block) | None => {}
        }
        tracing::warn!(actor = B::KIND.as_str(), reason = %failure.text(), "an actor failed");
        self.around.metrics.restarted(B::KIND, failure.cause());
        let buried = env.is_some_and(|env| self.keep_or_bury(env, &failure.text()));
        match self.policy.failed(Instant::now(), buried) {
            Next::Restart(wait) => self.recover(ctx, wait),
            Next::Escalate { fruitless } => {
                self.report(Report::Escalated(B::KIND, failure.text(), fruitless));
                self.park(ctx);
            }
        }
    }

    /// Keeps the message for the next incarnation, unless it failed too often. Tells whether it was buried.
    fn keep_or_bury(&mut self, mut env: Env<B::Message>, reason: &str) -> bool {
        env.tries += 1;
        if env.message.is_none() {
            return false;
        }
        if env.tries < POISON_TRIES {
            self.retries.push_front(env);
            return false;
        }
        self.around.metrics.restarted(B::KIND, Cause::Poison);
        let (recipe, message) = (&self.recipe, env.message);
        let buried = catch_unwind(AssertUnwindSafe(|| {
            if let Some(message) = message {
                B::bury(recipe, message, reason);
            }
        }));
        if buried.is_err() {
            tracing::error!(actor = B::KIND.as_str(), "burying a message panicked");
        }
        true
    }

    /// Does nothing until the supervisor has decided.
    fn park(&mut self, ctx: &mut Context<Self>) {
        let (mut orders, generation) = (self.around.orders.clone(), self.generation);
        let future = async move {
            let decided = orders.wait_for(|orders| orders.stop || orders.generation > generation);
            decided.await.is_ok()
        };
        ctx.wait(future.into_actor(self).map(|decided, cell, ctx| {
            if !decided || !cell.obey(ctx) {
                cell.clean = true;
                ctx.stop();
            }
        }));
    }
}

async fn revive<B: Behaviour>(
    recipe: B::Recipe,
    recoveries: Arc<Semaphore>,
    wait: Duration,
) -> Result<B, Failure> {
    if !wait.is_zero() {
        tokio::time::sleep(wait).await;
    }
    let _turn = recoveries.acquire().await;
    let recovery = AssertUnwindSafe(async move { B::recover(recipe).await });
    match recovery.catch_unwind().await {
        Ok(recovered) => recovered.map_err(Failure::Fault),
        Err(panic) => Err(Failure::panicked(&*panic)),
    }
}

impl<B: Behaviour> Actor for Cell<B> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if let Some(inbox) = self.inbox.take() {
            Self::add_stream(inbox, ctx);
        }
        self.recover(ctx, Duration::ZERO);
    }
}

impl<B: Behaviour> StreamHandler<(Instant, Parcel<B::Message>)> for Cell<B> {
    fn handle(&mut self, (sent_at, parcel): (Instant, Parcel<B::Message>), ctx: &mut Self::Context) {
        match parcel {
            Parcel::Work(message) => {
                let env = Env {
                    message: Some(message),
                    sent_at,
                    tries: 0,
                };
                self.serve(env, ctx);
            }
            Parcel::Wake => drop(self.obey(ctx)),
        }
    }
}

impl<B: Behaviour> Drop for Cell<B> {
    fn drop(&mut self) {
        if !self.clean {
            self.report(Report::Vanished(B::KIND));
        }
    }
}
