//! TLS between members: connections from afar end here, and go on to the engine through Unix sockets in a folder
//! that only this user may enter. What the engine dials is reached through such a socket, too.
//!
//! The engine has TLS of its own, but lets two threads at once change what belongs to one connection: links break
//! that are in order, and processes crash.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use ::zenoh::internal::runtime::ZRuntime;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::time::{sleep, timeout};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};
use zenoh_util::net::{get_ipv4_ipaddrs, get_ipv6_ipaddrs};

use super::folder::{self, Folder};
use super::in_callback;
use super::quiet::Quiet;
use super::refusals::turned_away;
use crate::cluster::link::Inbound;
use crate::cluster::tls::{Identity, reason};
use crate::endpoint::Endpoint;
use crate::error::Result;
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::sync::{Condvar, Mutex};

/// Of what is on its way through a tunnel, so much is taken at once.
const BUFFER: usize = 1 << 16;
/// So many may be about to prove who they are; more are turned away.
const MAX_HANDSHAKES: usize = 100;
/// What a member that leaves has said last gets so long to be taken.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Out of files, most likely.
const PAUSE: Duration = Duration::from_millis(100);

pub(super) struct Tunnels {
    identity: Identity,
    folder: Folder,
    /// Where the engine takes what comes from afar. Discovery tells others of these sockets, whose names say what to
    /// dial.
    inner: Vec<PathBuf>,
    /// Under which it is reached, with and without the loopback ones of all addresses.
    addresses: [Vec<String>; 2],
    /// How long a handshake may take, and how long the other side may take nothing.
    patience: Duration,
    inbound: Weak<dyn Inbound>,
    standing: Mutex<Standing>,
    ended: Condvar,
    handshakes: AtomicUsize,
    is_closing: AtomicBool,
}

#[derive(Default)]
struct Standing {
    last: u64,
    tunnels: HashMap<u64, Tunnel>,
    /// So many ports are listened on.
    ports: usize,
}

struct Tunnel {
    far: SocketAddr,
    /// Where the engine dials it.
    near: Option<PathBuf>,
    /// The engine has come.
    carries: bool,
}

/// Where members with TLS listen.
pub(super) struct Listening {
    listener: std::net::TcpListener,
    at: SocketAddr,
}

impl Listening {
    pub fn new((listener, at): (std::net::TcpListener, SocketAddr)) -> Listening {
        Listening { listener, at }
    }

    fn addresses(&self, loopback: bool) -> Vec<String> {
        let ip = self.at.ip();
        let all = match ip.is_unspecified() {
            false => vec![ip],
            true if ip.is_ipv4() => get_ipv4_ipaddrs(None, !loopback),
            true => get_ipv6_ipaddrs(None, !loopback),
        };
        all.into_iter().map(|ip| SocketAddr::new(ip, self.at.port()).to_string()).collect()
    }
}

/// What to dial to reach the member whose engine has told that it listens there.
pub(super) fn reached_by(inner: &str) -> Option<String> {
    let (folder, name) = inner.strip_prefix("unix:")?.rsplit_once('/')?;
    let is_ours = folder.rsplit('/').next()?.starts_with(folder::PREFIX);
    (is_ours && name.parse::<SocketAddr>().is_ok()).then(|| name.to_owned())
}

impl Tunnels {
    pub fn new(
        identity: Identity,
        listening: &[Listening],
        discovered: bool,
        patience: Duration,
        inbound: Weak<dyn Inbound>,
    ) -> Result<Tunnels> {
        let folder = Folder::new()?;
        let addresses = |loopback| -> Vec<String> {
            listening.iter().flat_map(|at| at.addresses(loopback)).collect()
        };
        let addresses = [addresses(true), addresses(false)];
        let mut names = match discovered && !addresses[1].is_empty() {
            true => addresses[1].clone(),
            false => vec!["engine".to_owned()],
        };
        // Two ports of one number on different addresses of this machine may be reached under the same.
        names.sort();
        names.dedup();
        Ok(Tunnels {
            identity,
            inner: names.iter().map(|name| folder.file(name)).collect(),
            folder,
            addresses,
            patience,
            inbound,
            standing: Mutex::default(),
            ended: Condvar::new(),
            handshakes: AtomicUsize::new(0),
            is_closing: AtomicBool::new(false),
        })
    }

    /// Where the engine has to listen.
    pub fn inner(&self) -> impl Iterator<Item = Endpoint> {
        self.inner.iter().map(|path| Endpoint::Unix(path.to_string_lossy().into_owned()))
    }

    /// Where this member is reached, in place of the engine's own addresses.
    pub fn announce(&self, engines: Vec<String>, loopback: bool) -> Vec<String> {
        let is_inner = |address: &String| {
            address.strip_prefix("unix:").is_some_and(|path| self.folder.holds(path))
        };
        let own = self.addresses[usize::from(!loopback)].iter().cloned();
        engines.into_iter().filter(|address| !is_inner(address)).chain(own).collect()
    }

    /// The address at the other end of the tunnel that the engine has dialled there.
    pub fn far_end(&self, near: &str) -> Option<String> {
        let is_it =
            |tunnel: &&Tunnel| tunnel.near.as_ref().is_some_and(|path| path.as_os_str() == near);
        let standing = self.standing.lock();
        standing.tunnels.values().find(is_it).map(|tunnel| tunnel.far.to_string())
    }

    /// Whether there is a tunnel with this machine, in its canonical form: who comes over IPv4 to a socket for IPv6
    /// has an address of the latter.
    pub fn leads_to(&self, host: IpAddr) -> bool {
        let standing = self.standing.lock();
        standing.tunnels.values().any(|tunnel| tunnel.far.ip().to_canonical() == host)
    }

    /// Takes connections, until it is dropped.
    pub fn serve(self: Arc<Self>, listening: Listening) -> impl Future<Output = ()> + Send {
        // Counted from now on: what is spawned may be dropped before it has run at all.
        let listens = Listens::new(&self, listening.listener);
        async move {
            // The last one to go: whoever waits for it may listen there.
            let Listens { listener, _port } = listens;
            let listener = match TcpListener::from_std(listener) {
                Ok(listener) => listener,
                // The system does not tell of its connections.
                Err(error) => return self.failed(&format!("cannot take connections: {error}")),
            };
            loop {
                match listener.accept().await {
                    Ok((stream, far)) => {
                        ZRuntime::RX.spawn(self.clone().welcome(stream, far));
                    }
                    Err(_) => sleep(PAUSE).await,
                }
            }
        }
    }

    async fn welcome(self: Arc<Self>, stream: TcpStream, far: SocketAddr) {
        let pending = self.handshakes.fetch_add(1, Ordering::Relaxed);
        let accepted = match pending < MAX_HANDSHAKES {
            true => self.accept(stream).await,
            false => Err("too many others are about to prove who they are"),
        };
        self.handshakes.fetch_sub(1, Ordering::Relaxed);
        match accepted {
            Ok(stream) => {
                let tunnel = Stands::new(&self, far, None);
                match UnixStream::connect(&self.inner[0]).await {
                    Ok(near) => tunnel.carry(near, stream).await,
                    Err(error) => self.failed(&format!(
                        "a member that has come cannot be let in through the socket {}: {error}",
                        self.inner[0].display()
                    )),
                }
            }
            Err(why) => {
                if let Some(inbound) = self.inbound.upgrade() {
                    in_callback(|| inbound.refused(&turned_away(why)));
                }
            }
        }
    }

    /// Behind a handshake that was in order, where nobody else can tell of it.
    fn failed(&self, what: &str) {
        // Its sockets end then.
        if !self.is_closing.load(Ordering::Relaxed)
            && let Some(inbound) = self.inbound.upgrade()
        {
            in_callback(|| inbound.failed(what));
        }
    }

    async fn accept(&self, stream: TcpStream) -> Result<TlsStream<Quiet>, &'static str> {
        let _ = stream.set_nodelay(true);
        let acceptor = TlsAcceptor::from(self.identity.accept.clone());
        match timeout(self.patience, acceptor.accept(Quiet(stream))).await {
            Ok(Ok(stream)) => Ok(stream.into()),
            Ok(Err(error)) => Err(reason(&error)),
            Err(_) => Err("it did not prove in time who it is"),
        }
    }

    /// A socket through which the engine reaches whoever is there and has proved to be who it should be.
    pub async fn dial(self: &Arc<Self>, host: &str, port: u16) -> Option<PathBuf> {
        let name = ServerName::try_from(host.to_owned()).ok()?;
        for far in tokio::net::lookup_host((host, port)).await.ok()? {
            if let Ok(Ok(stream)) = timeout(self.patience, self.connect(far, name.clone())).await {
                let offered = self.offer(far, stream);
                return offered
                    .inspect_err(|error| {
                        // Not its path, which is another one each time.
                        self.failed(&format!("cannot make a socket to a member: {error}"));
                    })
                    .ok();
            }
        }
        None
    }

    async fn connect(
        &self,
        far: SocketAddr,
        name: ServerName<'static>,
    ) -> io::Result<TlsStream<Quiet>> {
        let stream = TcpStream::connect(far).await?;
        let _ = stream.set_nodelay(true);
        let connector = TlsConnector::from(self.identity.dial.clone());
        connector.connect(name, Quiet(stream)).await.map(TlsStream::from)
    }

    fn offer(self: &Arc<Self>, far: SocketAddr, stream: TlsStream<Quiet>) -> io::Result<PathBuf> {
        let path = self.folder.fresh();
        let listener = UnixListener::bind(&path)?;
        let tunnel = Stands::new(self, far, Some(path.clone()));
        let (patience, socket) = (self.patience, path.clone());
        ZRuntime::RX.spawn(async move {
            let near = timeout(patience, listener.accept()).await;
            let _ = std::fs::remove_file(socket);
            if let Ok(Ok((near, _))) = near {
                tunnel.carry(near, stream).await;
            }
        });
        Ok(path)
    }

    /// The engine is about to be closed.
    pub fn close(&self) {
        self.is_closing.store(true, Ordering::Relaxed);
    }

    /// The engine is closed: waits until what it said last is out and the ports are free, or for so long.
    pub fn finish(&self, limit: Duration) {
        self.folder.remove();
        let goes_on = |standing: &Standing| {
            standing.ports > 0 || standing.tunnels.values().any(|tunnel| tunnel.carries)
        };
        self.ended.wait_while(&mut self.standing.lock(), limit, goes_on);
    }
}

/// A port that is listened on. The listener goes first.
struct Listens {
    listener: std::net::TcpListener,
    _port: Port,
}

struct Port(Arc<Tunnels>);

impl Listens {
    fn new(tunnels: &Arc<Tunnels>, listener: std::net::TcpListener) -> Listens {
        tunnels.standing.lock().ports += 1;
        Listens { listener, _port: Port(tunnels.clone()) }
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.0.standing.lock().ports -= 1;
        self.0.ended.notify_all();
    }
}

/// One that stands, until this is dropped.
struct Stands {
    tunnels: Arc<Tunnels>,
    number: u64,
}

impl Drop for Stands {
    fn drop(&mut self) {
        self.tunnels.standing.lock().tunnels.remove(&self.number);
        self.tunnels.ended.notify_all();
    }
}

impl Stands {
    fn new(tunnels: &Arc<Tunnels>, far: SocketAddr, near: Option<PathBuf>) -> Stands {
        let mut standing = tunnels.standing.lock();
        standing.last += 1;
        let number = standing.last;
        standing.tunnels.insert(number, Tunnel { far, near, carries: false });
        Stands { tunnels: tunnels.clone(), number }
    }

    /// Carries what both sides say, until one of them has ended.
    async fn carry(self, near: UnixStream, far: TlsStream<Quiet>) {
        if let Some(tunnel) = self.tunnels.standing.lock().tunnels.get_mut(&self.number) {
            tunnel.carries = true;
        }
        let (mut from_afar, mut to_afar) = tokio::io::split(far);
        exchange(near, &mut from_afar, &mut to_afar, self.tunnels.patience).await;
        // Said and not left to the closing of the socket: a child that was forked off meanwhile has it, too.
        let mut far = from_afar.unsplit(to_afar);
        if !matches!(timeout(LAST_WORDS, far.shutdown()).await, Ok(Ok(()))) {
            let _ = far.get_mut().0.shutdown().await;
        }
    }
}

async fn exchange(
    near: UnixStream,
    from_afar: &mut ReadHalf<TlsStream<Quiet>>,
    to_afar: &mut WriteHalf<TlsStream<Quiet>>,
    patience: Duration,
) {
    let (mut from_engine, mut to_engine) = near.into_split();
    let outward = async {
        let mut buffer = vec![0; BUFFER];
        loop {
            let length = match from_engine.read(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(length) => length,
            };
            let sent = async {
                to_afar.write_all(&buffer[..length]).await?;
                to_afar.flush().await
            };
            if !matches!(timeout(patience, sent).await, Ok(Ok(()))) {
                return;
            }
        }
        let _ = timeout(patience, to_afar.shutdown()).await;
    };
    let mut inward = pin!(async {
        let mut buffer = vec![0; BUFFER];
        let mut listens = true;
        while let Ok(length @ 1..) = from_afar.read(&mut buffer).await {
            // An engine that has hung up may still have words on their way: what comes is read to the end, as
            // closing a connection with something unread would take them back.
            listens = listens && to_engine.write_all(&buffer[..length]).await.is_ok();
        }
    });
    tokio::select! {
        () = &mut inward => {}
        () = outward => {
            let _ = timeout(LAST_WORDS, inward).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Inbox;
    use super::*;
    use crate::cluster::tls;
    use crate::options::Tls;

    /// How long a test waits for what should come at once.
    const PATIENCE: Duration = Duration::from_secs(60);

    fn tunnels() -> Arc<Tunnels> {
        let path = |file| format!("{}/tests/certificates/{file}", env!("CARGO_MANIFEST_DIR"));
        let [ca, cert, key] = &["ca.pem", "member.pem", "member.key"].map(path);
        let identity = tls::read(&Tls::new(ca, cert, key)).unwrap();
        let nobody = Weak::<Inbox>::new();
        Arc::new(Tunnels::new(identity, &[], false, PATIENCE, nobody).unwrap())
    }

    #[test]
    fn the_end_waits_for_who_listens() {
        let tunnels = tunnels();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let serving = tunnels.clone().serve(Listening::new((listener, at)));
        let goes = Arc::new(AtomicBool::new(false));
        let told = goes.clone();
        ZRuntime::Net.spawn(async move {
            sleep(Duration::from_millis(200)).await;
            told.store(true, Ordering::SeqCst);
            drop(serving);
        });
        tunnels.finish(PATIENCE);
        assert!(goes.load(Ordering::SeqCst), "it has not waited");
    }

    /// As a forked child does. The other side must not wait for it.
    #[test]
    fn a_connection_ends_though_somebody_else_has_it_too() {
        let tunnels = tunnels();
        ZRuntime::Application.block_in_place(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let at = listener.local_addr().unwrap();
            let name = ServerName::from(at.ip());
            let accepted = async {
                let stream = listener.accept().await.unwrap().0.into_std().unwrap();
                let copy = stream.try_clone().unwrap();
                let stream = tunnels.accept(TcpStream::from_std(stream).unwrap()).await;
                (stream.unwrap(), copy)
            };
            let (far, (stream, _copy)) = tokio::join!(tunnels.connect(at, name), accepted);
            let mut far = far.unwrap();
            // What the engine says to it stays unsaid: it has hung up.
            far.shutdown().await.unwrap();
            let (near, _engine) = UnixStream::pair().unwrap();
            Stands::new(&tunnels, at, None).carry(near, stream).await;
            let end = timeout(PATIENCE, far.read(&mut [0])).await;
            assert!(matches!(end, Ok(Ok(0))), "{end:?}");
        });
    }

    #[test]
    fn the_name_of_a_socket_says_what_to_dial() {
        let reached = |inner| reached_by(inner).unwrap_or_default();
        assert_eq!(reached("unix:/tmp/minikv-tls-0/10.0.0.1:7447"), "10.0.0.1:7447");
        assert_eq!(reached("unix:/tmp/minikv-tls-0/[fd00::1]:7447"), "[fd00::1]:7447");
        for nothing in [
            "unix:/tmp/minikv-tls-0/engine",
            "unix:/tmp/10.0.0.1:7447",
            "unix:/tmp/minikv-tls-0/a/10.0.0.1:7447",
            "10.0.0.1:7447",
            "",
        ] {
            assert_eq!(reached(nothing), "");
        }
    }
}
