//! What a registry tells of its cluster, and starting a member without holding the interpreter.

use std::time::{Duration, Instant};

use minikv::{Error, Member, Options, Registry};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::args::{Arg, wait};
use crate::error::Outcome;
use crate::pending::{PyPending, Waiting};
use crate::registry::PyRegistry;
use crate::wait::in_slices;

/// A member of a cluster, from Registry.members().
///
/// Members are equal if all fields are; they can be hashed and pickled.
///
/// >>> with minikv.Registry(node="n1") as kv:
/// ...     [member] = kv.members()
/// >>> member.node, member.state, member.is_self
/// ('n1', 'live', True)
#[pyclass(name = "Member", module = "minikv", frozen, get_all, eq, hash)]
#[derive(PartialEq, Hash)]
pub struct PyMember {
    /// Its name.
    node: String,
    /// The identity of this start of it: 32 hexadecimal digits.
    incarnation: String,
    /// How it is, as this member sees it: "joining", "live", "down" or "left".
    state: String,
    /// How many changes it has announced that are not applied here yet.
    lag: u64,
    /// What it holds, as 16 hexadecimal digits: equal tables have equal ones. None until it has told,
    /// and outside a cluster.
    digest: Option<String>,
    /// Whether it is this very member.
    is_self: bool,
    /// Whether another live member has the same name.
    namesake: bool,
}

impl From<Member> for PyMember {
    fn from(member: Member) -> PyMember {
        PyMember {
            node: member.node,
            incarnation: member.incarnation,
            state: member.state.as_str().to_owned(),
            lag: member.lag,
            digest: member.digest,
            is_self: member.is_self,
            namesake: member.namesake,
        }
    }
}

#[pymethods]
impl PyMember {
    /// A member of its own, such as a test may want.
    #[new]
    #[pyo3(signature = (node, incarnation, state="live".to_owned(), lag=0, digest=None,
        is_self=false, namesake=false))]
    fn new(
        node: String,
        incarnation: String,
        state: String,
        lag: u64,
        digest: Option<String>,
        is_self: bool,
        namesake: bool,
    ) -> PyMember {
        PyMember { node, incarnation, state, lag, digest, is_self, namesake }
    }

    #[classattr]
    fn __match_args__() -> (&'static str, &'static str, &'static str) {
        ("node", "incarnation", "state")
    }

    fn __repr__(slf: &Bound<'_, PyMember>) -> PyResult<String> {
        let fields = slf.get().fields(slf.py())?;
        let shown = Member::FIELDS.iter().zip(fields.iter());
        let shown = shown.map(|(name, field)| Ok(format!("{name}={}", field.repr()?)));
        Ok(format!("Member({})", shown.collect::<PyResult<Vec<_>>>()?.join(", ")))
    }

    fn __reduce__<'py>(slf: &Bound<'py, PyMember>) -> PyResult<Bound<'py, PyTuple>> {
        let py = slf.py();
        (py.get_type::<PyMember>(), slf.get().fields(py)?).into_pyobject(py)
    }
}

impl PyMember {
    /// In the order of `Member::FIELDS`, which is that of the constructor.
    fn fields<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let fields = (
            &self.node,
            &self.incarnation,
            &self.state,
            self.lag,
            &self.digest,
            self.is_self,
            self.namesake,
        );
        fields.into_pyobject(py)
    }
}

/// A start that may wait for others: Ctrl-C ends it and stops what was started.
pub fn start_in_cluster(py: Python<'_>, options: Options) -> Outcome<Registry> {
    let mut pending = py.detach(|| Registry::start_pending(options))?;
    let result = in_slices(py, |slice| pending.wait_for(slice));
    // To stop is to take leave of the others.
    py.detach(|| drop(pending));
    Ok(result??)
}

/// Whether these are the options of a member of a cluster.
pub fn in_cluster(options: &Options) -> bool {
    options.get_cluster().is_some()
}

fn limit(timeout: Arg<'_, '_>) -> Result<Duration, Error> {
    timeout.map_or(Ok(Duration::MAX), |timeout| wait("timeout", timeout))
}

#[pymethods]
impl PyRegistry {
    /// Whether the first sync with the cluster is done, so that reads see what the others had.
    ///
    /// Without a cluster always True.
    fn ready(&self) -> Outcome<bool> {
        Ok(self.kv().ready()?)
    }

    /// Waits until the first sync with the cluster is done, at most `timeout` (default: as long as it takes).
    ///
    /// Without a cluster it is done. Raises Timeout, which tells how far it is; Cluster if this member
    /// could not join, such as for a live member of the same name.
    #[pyo3(signature = (timeout=None))]
    fn wait_synced(&self, py: Python<'_>, timeout: Arg<'_, '_>) -> Outcome<()> {
        let kv = self.kv();
        kv.ensure_running()?;
        let limit = limit(timeout)?;
        // By the machine's clock: between two slices this thread may have waited for the interpreter.
        #[allow(clippy::disallowed_methods)]
        let start = Instant::now();
        let mut pending = kv.sync_start()?;
        let result = match pending.try_take() {
            Some(result) => result,
            None => in_slices(py, |slice| {
                let left = limit.saturating_sub(start.elapsed());
                let result = pending.wait_for(slice.min(left));
                // Asked once more at the end, it tells how far it is.
                result.or_else(|| (left <= slice).then(|| kv.wait_synced(Duration::ZERO)))
            })?,
        };
        Ok(result?)
    }

    /// Asks for the first sync without waiting; also how many seconds to wait at most.
    #[pyo3(signature = (timeout=None))]
    fn _sync_start(
        slf: &Bound<'_, PyRegistry>,
        timeout: Arg<'_, '_>,
    ) -> Outcome<(PyPending, Option<f64>)> {
        let kv = slf.get().kv();
        kv.ensure_running()?;
        let limit = limit(timeout)?;
        let pending = PyPending::new(slf.clone().unbind(), Waiting::Sync(kv.sync_start()?));
        Ok((pending, (limit != Duration::MAX).then_some(limit.as_secs_f64())))
    }

    /// The members of the cluster, sorted by node, then incarnation; without a cluster this one alone.
    fn members(&self) -> Outcome<Vec<PyMember>> {
        Ok(self.kv().members()?.into_iter().map(PyMember::from).collect())
    }

    /// Where other members can dial this one, with the true ports; without a cluster nowhere.
    fn endpoints(&self) -> Outcome<Vec<String>> {
        Ok(self.kv().endpoints()?)
    }

    /// Whether a stop may wait for other members.
    #[getter]
    fn _in_cluster(&self) -> bool {
        in_cluster(self.kv().options())
    }
}
