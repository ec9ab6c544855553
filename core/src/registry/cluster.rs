//! What a registry tells of its cluster. Alone it is its own and only member, and has nothing to wait for.

use std::time::Duration;

use super::Registry;
use crate::error::{Error, ErrorKind, Result};
use crate::members::Member;
use crate::options::Options;
use crate::pending::{PendingStart, PendingSync};
use crate::stats::ClusterStats;

impl Registry {
    /// Starts a registry without any wait, for callers that must not block. Alone it is the same as [`start`](Registry::start).
    ///
    /// That a live member has the same node name shows in [`wait_synced`](Registry::wait_synced), as `cluster`.
    ///
    /// ```
    /// # fn main() -> Result<(), minikv::Error> {
    /// let kv = minikv::Registry::start_now("quick")?;
    /// assert!(kv.ready()?);
    /// # Ok(()) }
    /// ```
    pub fn start_now(options: impl Into<Options>) -> Result<Registry> {
        let options = options.into();
        options.check()?;
        Registry::start_named(options)
    }

    /// The first step of [`start`](Registry::start), for callers that may not wait for others or may give up; alone
    /// it is the whole of it.
    ///
    /// ```
    /// # fn main() -> Result<(), minikv::Error> {
    /// use minikv::{Options, Registry};
    /// let mut pending = Registry::start_pending(Options::unnamed())?;
    /// let kv = pending.try_take().expect("nobody to wait for")?;
    /// kv.put("k", 1)?;
    /// # Ok(()) }
    /// ```
    pub fn start_pending(options: impl Into<Options>) -> Result<PendingStart> {
        let registry = Registry::start_now(options)?;
        let admission = match registry.0.core.cluster() {
            Some(cluster) => PendingSync::of(cluster.admission()),
            None => PendingSync::decided(Ok(())),
        };
        Ok(PendingStart::new(registry, admission))
    }

    /// Whether the first sync with the cluster is done, so that reads see what the others had; alone always true.
    ///
    /// ```
    /// # fn main() -> Result<(), minikv::Error> {
    /// use minikv::{Options, Registry};
    /// let kv = Registry::start(Options::unnamed())?;
    /// assert!(kv.ready()?);
    /// # Ok(()) }
    /// ```
    pub fn ready(&self) -> Result<bool> {
        self.ensure_running()?;
        Ok(self.0.core.cluster().is_none_or(|cluster| cluster.is_synced()))
    }

    /// Waits in real time until the first sync with the cluster is done; alone it is.
    ///
    /// Errors: `timeout`, whose message tells how far it is; `cluster` if this member could not join.
    ///
    /// ```
    /// # fn main() -> Result<(), minikv::Error> {
    /// use std::time::Duration;
    /// use minikv::{Options, Registry};
    /// let kv = Registry::start(Options::unnamed())?;
    /// kv.wait_synced(Duration::from_secs(10))?;
    /// # Ok(()) }
    /// ```
    pub fn wait_synced(&self, timeout: Duration) -> Result<()> {
        if let Some(result) = self.sync_start()?.wait_for(timeout) {
            return result;
        }
        let progress = self.0.core.cluster().map(|cluster| cluster.progress()).unwrap_or_default();
        let message = format!("the first sync is not done yet: {progress}");
        Err(Error::new(ErrorKind::Timeout, message))
    }

    /// Waits for the first sync without blocking; what comes back may still be waiting.
    pub fn sync_start(&self) -> Result<PendingSync> {
        self.ensure_running()?;
        Ok(match self.0.core.cluster() {
            Some(cluster) => PendingSync::of(cluster.sync_start()),
            None => PendingSync::decided(Ok(())),
        })
    }

    /// As [`wait_synced`](Registry::wait_synced), as a future for any runtime, whose timeout is the caller's to set.
    #[cfg(feature = "async")]
    pub async fn wait_synced_async(&self) -> Result<()> {
        self.sync_start()?.await
    }

    /// The members of the cluster, sorted by node, then incarnation; alone this one.
    ///
    /// ```
    /// # fn main() -> Result<(), minikv::Error> {
    /// use minikv::{MemberState, Options, Registry};
    /// let kv = Registry::start(Options::unnamed().node("n1"))?;
    /// let members = kv.members()?;
    /// assert_eq!((members.len(), members[0].node.as_str()), (1, "n1"));
    /// assert!(members[0].is_self && members[0].state == MemberState::Live);
    /// # Ok(()) }
    /// ```
    pub fn members(&self) -> Result<Vec<Member>> {
        self.ensure_running()?;
        if let Some(cluster) = self.0.core.cluster() {
            return Ok(cluster.members());
        }
        let member = &self.0.core.table.member;
        Ok(vec![Member::alone(&member.name, member.incarnation)])
    }

    /// Where other members can dial this one, with the true ports; alone nowhere.
    ///
    /// ```
    /// # fn main() -> Result<(), minikv::Error> {
    /// use minikv::{Options, Registry};
    /// let kv = Registry::start(Options::unnamed())?;
    /// assert!(kv.endpoints()?.is_empty());
    /// # Ok(()) }
    /// ```
    pub fn endpoints(&self) -> Result<Vec<String>> {
        self.ensure_running()?;
        Ok(self.0.core.cluster().map(|cluster| cluster.endpoints()).unwrap_or_default())
    }

    /// What the cluster counts; alone nothing.
    pub(super) fn cluster_stats(&self) -> Option<ClusterStats> {
        self.0.core.cluster().map(|cluster| cluster.stats())
    }
}
