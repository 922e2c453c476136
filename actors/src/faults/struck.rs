//! A behaviour that fails where a fault is planted.

use std::sync::Arc;

use crate::cell::{Behaviour, Fault};
use crate::faults::Step;
use crate::metrics::Kind;
use crate::tenant::World;

/// A child of a tenant, with faults around it.
pub(crate) struct Struck<B> {
    child: B,
    world: Arc<World>,
}

impl<B: Behaviour> Struck<B> {
    fn strike(world: &World, step: Step) {
        world.shared.faults.strike(world.tenant(), B::KIND, step);
    }
}

impl<B: Behaviour<Recipe = Arc<World>>> Behaviour for Struck<B> {
    type Message = B::Message;
    type Recipe = Arc<World>;
    const KIND: Kind = B::KIND;

    async fn recover(world: Arc<World>) -> Result<Self, Fault> {
        Self::strike(&world, Step::Recover);
        let child = B::recover(world.clone()).await?;
        Ok(Self { child, world })
    }

    fn handle(&mut self, message: &mut Option<B::Message>) -> Result<(), Fault> {
        Self::strike(&self.world, Step::Handle);
        let deed = self
            .world
            .shared
            .faults
            .draw(self.world.tenant(), B::KIND, Step::Taken);
        if let Some(deed) = deed {
            drop(message.take());
            deed.strike();
        }
        self.child.handle(message)?;
        Self::strike(&self.world, Step::Handled);
        Ok(())
    }

    fn bury(world: &Arc<World>, message: B::Message, reason: &str) {
        B::bury(world, message, reason);
    }
}
