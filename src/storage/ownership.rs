//! Who owns which partition: epochs, and the heartbeats of nodes.

use domain::partition::{Epoch, Partition};
use jiff::Timestamp;
use uuid::Uuid;

use super::{Connection, Database, StorageError};

/// A node that does not say anything for this long, in seconds, is not there for the others.
const ALIVE_FOR_SECONDS: f64 = 5.0;
/// Rows of nodes that have not said anything for this long, in seconds, are deleted.
const REMEMBERED_FOR_SECONDS: f64 = 86_400.0;

/// Takes the partition's next epoch for this node: from now on no earlier owner decides anything for its tenants.
///
/// # Errors
/// What the database says.
pub async fn claim(database: &Database, partition: Partition, node: &str) -> Result<Epoch, StorageError> {
    let number = number_of(partition)?;
    let mut connection = database.get().await?;
    let row = connection
        .query_one(
            "INSERT INTO partition_owner AS p (partition, epoch, node, claimed_at) VALUES ($1, 1, $2, now())
             ON CONFLICT (partition) DO UPDATE SET epoch = p.epoch + 1, node = excluded.node, claimed_at = now()
             RETURNING epoch",
            &[&number, &node],
        )
        .await?;
    Ok(Epoch(row.get(0)))
}

/// What a node says of itself.
#[derive(Clone, Debug)]
pub struct Heartbeat<'a> {
    /// Its name, stable over restarts.
    pub node: &'a str,
    /// This very process.
    pub instance: Uuid,
    /// What it does.
    pub roles: &'a [&'a str],
    /// The partitions whose deliveries it takes, or would take if it were the first in line.
    pub registered: Vec<Partition>,
}

/// What a node hears when it says that it is alive.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// The workers that are alive, with the partitions that they are registered for.
    pub workers: Vec<(String, Vec<Partition>)>,
    /// The partitions whose last epoch another node took.
    pub of_others: Vec<(Partition, Epoch)>,
    /// Another process that is alive uses this node's name.
    pub name_is_taken: bool,
}

/// Says that this node is alive, and hears who else is and who owns what.
///
/// # Errors
/// What the database says.
pub async fn beat(database: &Database, beat: &Heartbeat<'_>) -> Result<Heard, StorageError> {
    let mut connection = database.get().await?;
    let registered: Vec<i16> = beat
        .registered
        .iter()
        .map(|partition| number_of(*partition))
        .collect::<Result<_, _>>()?;
    let name_is_taken = other_instance(&mut connection, beat).await?;
    connection
        .execute(
            "INSERT INTO nodes (node, roles, version, instance, registered) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (node) DO UPDATE SET heartbeat_at = now(), roles = excluded.roles, version = excluded.version,
                instance = excluded.instance, registered = excluded.registered,
                started_at = CASE WHEN nodes.instance = excluded.instance THEN nodes.started_at ELSE now() END",
            &[
                &beat.node,
                &beat.roles,
                &env!("CARGO_PKG_VERSION"),
                &beat.instance,
                &registered,
            ],
        )
        .await?;
    Ok(Heard {
        workers: workers(&mut connection).await?,
        of_others: of_others(&mut connection, beat.node).await?,
        name_is_taken,
    })
}

/// Two processes under one name write over each other: each finds the other's mark where its own should be.
async fn other_instance(connection: &mut Connection, beat: &Heartbeat<'_>) -> Result<bool, StorageError> {
    let row = connection
        .query_opt(
            "SELECT FROM nodes WHERE node = $1 AND instance <> $2
                AND heartbeat_at > now() - $3 * interval '1 second'",
            &[&beat.node, &beat.instance, &ALIVE_FOR_SECONDS],
        )
        .await?;
    Ok(row.is_some())
}

async fn workers(connection: &mut Connection) -> Result<Vec<(String, Vec<Partition>)>, StorageError> {
    let rows = connection
        .query(
            "SELECT node, registered FROM nodes WHERE 'worker' = ANY(roles)
                AND heartbeat_at > now() - $1 * interval '1 second' ORDER BY node",
            &[&ALIVE_FOR_SECONDS],
        )
        .await?;
    rows.iter()
        .map(|row| {
            let numbers: Vec<i16> = row.try_get(1)?;
            let registered = numbers.into_iter().map(partition_of).collect::<Result<_, _>>()?;
            Ok((row.try_get(0)?, registered))
        })
        .collect()
}

async fn of_others(connection: &mut Connection, node: &str) -> Result<Vec<(Partition, Epoch)>, StorageError> {
    let rows = connection
        .query(
            "SELECT partition, epoch FROM partition_owner WHERE node <> $1",
            &[&node],
        )
        .await?;
    rows.iter()
        .map(|row| Ok((partition_of(row.try_get(0)?)?, Epoch(row.try_get(1)?))))
        .collect()
}

/// Says that this node is gone, so that nobody waits for it; forgets nodes that have been gone for a day.
///
/// # Errors
/// What the database says.
pub async fn leave(database: &Database, node: &str, instance: Uuid) -> Result<(), StorageError> {
    let mut connection = database.get().await?;
    connection
        .execute(
            "DELETE FROM nodes WHERE (node = $1 AND instance = $2)
                OR heartbeat_at < now() - $3 * interval '1 second'",
            &[&node, &instance, &REMEMBERED_FOR_SECONDS],
        )
        .await?;
    Ok(())
}

/// A process that was heard of.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the columns of `nodes`")]
pub struct KnownNode {
    pub node: String,
    pub roles: Vec<String>,
    pub version: String,
    pub alive: bool,
    pub registered: usize,
    pub started_at: Timestamp,
    pub heartbeat_at: Timestamp,
}

/// Lists every process that was heard of, by name.
///
/// # Errors
/// What the database says.
pub async fn nodes(database: &Database) -> Result<Vec<KnownNode>, StorageError> {
    let mut connection = database.get().await?;
    let rows = connection
        .query(
            "SELECT node, roles, version, heartbeat_at > now() - $1 * interval '1 second', cardinality(registered),
                started_at, heartbeat_at FROM nodes ORDER BY node",
            &[&ALIVE_FOR_SECONDS],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(KnownNode {
                node: row.try_get(0)?,
                roles: row.try_get(1)?,
                version: row.try_get(2)?,
                alive: row.try_get(3)?,
                registered: usize::try_from(row.try_get::<_, i32>(4)?).map_err(StorageError::nonsense)?,
                started_at: row.try_get(5)?,
                heartbeat_at: row.try_get(6)?,
            })
        })
        .collect()
}

/// Who took a partition last.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the columns of `partition_owner`")]
pub struct Owner {
    pub partition: Partition,
    pub epoch: Epoch,
    pub node: String,
    pub claimed_at: Timestamp,
}

/// Lists who took which partition last.
///
/// # Errors
/// What the database says.
pub async fn owners(database: &Database) -> Result<Vec<Owner>, StorageError> {
    let mut connection = database.get().await?;
    let rows = connection
        .query(
            "SELECT partition, epoch, node, claimed_at FROM partition_owner
             WHERE node IS NOT NULL AND claimed_at IS NOT NULL ORDER BY partition",
            &[],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Owner {
                partition: partition_of(row.try_get(0)?)?,
                epoch: Epoch(row.try_get(1)?),
                node: row.try_get(2)?,
                claimed_at: row.try_get(3)?,
            })
        })
        .collect()
}

fn number_of(partition: Partition) -> Result<i16, StorageError> {
    i16::try_from(partition.0).map_err(StorageError::nonsense)
}

fn partition_of(number: i16) -> Result<Partition, StorageError> {
    u16::try_from(number)
        .map(Partition)
        .map_err(StorageError::nonsense)
}
