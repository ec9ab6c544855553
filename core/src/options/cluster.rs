//! The options of a member of a cluster.

use std::time::Duration;

use super::{Options, check_name, shown, text};
use crate::clock::format_duration;
use crate::endpoint::Endpoint;
use crate::error::{Error, Result, shorten};
use crate::options::ClockKind;
use crate::value::Value;

/// The certificates of a member, as paths of PEM files. Members show each other theirs, signed by the same authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    ca: String,
    cert: String,
    key: String,
}

impl Tls {
    /// The fields, by the names that all languages and files use.
    pub const FIELDS: &'static [&'static str] = &["ca", "cert", "key"];

    /// The authority's certificate, this member's own, and its private key.
    pub fn new(ca: impl Into<String>, cert: impl Into<String>, key: impl Into<String>) -> Tls {
        Tls { ca: ca.into(), cert: cert.into(), key: key.into() }
    }

    /// The path of the authority's certificate.
    pub fn ca(&self) -> &str {
        &self.ca
    }

    /// The path of this member's certificate.
    pub fn cert(&self) -> &str {
        &self.cert
    }

    /// The path of this member's private key.
    pub fn key(&self) -> &str {
        &self.key
    }

    fn fields(&self) -> [(&'static str, &str); 3] {
        [("ca", &self.ca), ("cert", &self.cert), ("key", &self.key)]
    }

    fn to_value(&self) -> Value {
        let fields = self.fields().into_iter();
        Value::Map(fields.map(|(name, path)| (name.to_owned(), Value::from(path))).collect())
    }

    fn from_value(value: &Value) -> Result<Tls> {
        let Value::Map(fields) = value else {
            let found = shown(value);
            return Err(Error::argument(format!(
                "tls is {found}; it is a map of ca, cert and key"
            )));
        };
        let mut tls = Tls::new("", "", "");
        for (field, value) in fields {
            let place = match field.as_str() {
                "ca" => &mut tls.ca,
                "cert" => &mut tls.cert,
                "key" => &mut tls.key,
                _ => return Err(Error::unknown_field("field of tls", field, Tls::FIELDS)),
            };
            if !matches!(value, Value::Nil) {
                *place = text(&format!("tls.{field}"), value)?.to_owned();
            }
        }
        Ok(tls)
    }

    fn check(&self) -> Result<()> {
        for (field, path) in self.fields() {
            if path.is_empty() {
                let message = format!("tls lacks {field}; it needs the paths ca, cert and key");
                return Err(Error::argument(message));
            }
            if path.contains('\0') {
                let path = shorten(path.as_bytes());
                return Err(Error::argument(format!("tls.{field} is {path}, which is no path")));
            }
        }
        Ok(())
    }
}

/// All cluster fields; without a name they are all absent.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ClusterOptions {
    pub name: Option<String>,
    pub listen: Vec<String>,
    pub peers: Vec<String>,
    pub multicast: bool,
    pub failure_timeout: Option<Duration>,
    pub tls: Option<Tls>,
}

/// After this long without a word a member is taken for dead, unless the options say otherwise.
const FAILURE_TIMEOUT: Duration = Duration::from_millis(2500);
const MIN_FAILURE_TIMEOUT: Duration = Duration::from_millis(100);
const MAX_FAILURE_TIMEOUT: Duration = Duration::from_secs(60);

/// Where a member listens that was not told: on a free port that only this machine reaches.
const LISTEN: &str = "127.0.0.1:0";

impl ClusterOptions {
    pub const FIELDS: [&'static str; 6] =
        ["cluster", "listen", "peers", "discovery", "failure_timeout", "tls"];

    /// The endpoints to listen on, with the default.
    pub fn listens(&self) -> Vec<String> {
        if self.listen.is_empty() { vec![LISTEN.to_owned()] } else { self.listen.clone() }
    }

    /// The failure timeout, with the default.
    pub fn timeout(&self) -> Duration {
        self.failure_timeout.unwrap_or(FAILURE_TIMEOUT)
    }

    /// Reads one of the fields.
    pub fn set(&mut self, field: &str, value: &Value) -> Result<()> {
        match field {
            "cluster" => self.name = Some(text(field, value)?.to_owned()),
            "listen" => self.listen = endpoints(field, value)?,
            "peers" => self.peers = endpoints(field, value)?,
            "discovery" => self.multicast = discovery(value)?,
            "failure_timeout" => self.failure_timeout = Some(super::duration(field, value)?),
            _ => self.tls = Some(Tls::from_value(value)?),
        }
        Ok(())
    }

    /// The fields as [`Options::to_value`] shows them.
    pub fn to_fields(&self) -> [(&'static str, Value); 6] {
        let list = |endpoints: &[String]| match endpoints {
            [] => Value::Nil,
            endpoints => Value::List(endpoints.iter().map(|text| text.as_str().into()).collect()),
        };
        let timeout = self.failure_timeout.map(|timeout| format_duration(timeout).into());
        let [cluster, listen, peers, discovery, failure_timeout, tls] = ClusterOptions::FIELDS;
        [
            (cluster, self.name.as_deref().map_or(Value::Nil, Value::from)),
            (listen, list(&self.listen)),
            (peers, list(&self.peers)),
            (discovery, if self.multicast { "multicast".into() } else { Value::Nil }),
            (failure_timeout, timeout.unwrap_or(Value::Nil)),
            (tls, self.tls.as_ref().map_or(Value::Nil, Tls::to_value)),
        ]
    }

    pub fn check(&self, clock: ClockKind) -> Result<()> {
        let Some(name) = &self.name else {
            return self.check_alone();
        };
        check_name("cluster", name)?;
        if clock == ClockKind::Manual {
            let message = "clock is \"manual\", but a member of a cluster runs on the machine's";
            return Err(Error::argument(message));
        }
        for endpoint in &self.listen {
            Endpoint::parse("listen", endpoint)?;
        }
        for peer in &self.peers {
            if Endpoint::parse("peers", peer)?.has_free_port() {
                let peer = shorten(peer.as_bytes());
                let message = format!("peers has {peer}: nobody can be dialled at port 0");
                return Err(Error::argument(message));
            }
        }
        let timeout = self.failure_timeout.unwrap_or(FAILURE_TIMEOUT);
        if !(MIN_FAILURE_TIMEOUT..=MAX_FAILURE_TIMEOUT).contains(&timeout) {
            let given = format_duration(timeout);
            let message = format!("failure_timeout is {given}; it must be from 100ms to 60s");
            return Err(Error::argument(message));
        }
        self.tls.as_ref().map_or(Ok(()), Tls::check)
    }

    /// Without a name nothing else may be given: it would be for nothing.
    fn check_alone(&self) -> Result<()> {
        let given = self.to_fields().into_iter().find(|(_, value)| *value != Value::Nil);
        match given {
            Some((field, _)) => Err(Error::argument(format!(
                "{field} is given without cluster; name the cluster as well, or leave {field} out"
            ))),
            None => Ok(()),
        }
    }
}

/// A list of texts, or one text.
fn endpoints(field: &str, value: &Value) -> Result<Vec<String>> {
    let wrong = |found: &Value| {
        let found = found.value_type();
        let example = "such as \"127.0.0.1:7447\"";
        Error::argument(format!("{field} is a list of texts {example}, or one text, not {found}"))
    };
    match value {
        Value::Text(one) => Ok(vec![one.clone()]),
        Value::List(many) => many
            .iter()
            .map(|one| match one {
                Value::Text(text) => Ok(text.clone()),
                other => {
                    let found = other.value_type();
                    Err(Error::argument(format!(
                        "{field} is a list of texts; one of them is {found}"
                    )))
                }
            })
            .collect(),
        other => Err(wrong(other)),
    }
}

fn discovery(value: &Value) -> Result<bool> {
    match text("discovery", value)? {
        "multicast" => Ok(true),
        other => {
            let other = shorten(other.as_bytes());
            let message = format!("discovery is {other}; it is \"multicast\", or left out");
            Err(Error::argument(message))
        }
    }
}

impl Options {
    /// Joins the cluster of this name; members of another one are never met. Default: no cluster, no sockets.
    ///
    /// All that follows here belongs to it. Needs the cargo feature `cluster`.
    pub fn cluster(mut self, name: impl Into<String>) -> Options {
        self.cluster.name = Some(name.into());
        self
    }

    /// The name of the cluster, if these are the options of a member.
    pub fn get_cluster(&self) -> Option<&str> {
        self.cluster.name.as_deref()
    }

    /// Listens here too: `host:port` (port 0: a free one) or `unix:/path`. Default `127.0.0.1:0`.
    pub fn listen(mut self, endpoint: impl Into<String>) -> Options {
        self.cluster.listen.push(endpoint.into());
        self
    }

    /// Dials this endpoint too. One that cannot be reached is tried again, and is no error.
    pub fn peer(mut self, endpoint: impl Into<String>) -> Options {
        self.cluster.peers.push(endpoint.into());
        self
    }

    /// Dials these endpoints too.
    pub fn peers(mut self, endpoints: impl IntoIterator<Item = impl Into<String>>) -> Options {
        self.cluster.peers.extend(endpoints.into_iter().map(Into::into));
        self
    }

    /// Finds members of the local network by multicast. Default: only `peers`, and whom they know.
    pub fn discovery_multicast(mut self) -> Options {
        self.cluster.multicast = true;
        self
    }

    /// How long a member may be silent until it is taken for dead, 100 ms to 60 s. Default 2.5 s.
    pub fn failure_timeout(mut self, timeout: Duration) -> Options {
        self.cluster.failure_timeout = Some(timeout);
        self
    }

    /// Encrypts all links; members without a certificate of the same authority are refused. Default: no encryption.
    pub fn tls(mut self, tls: Tls) -> Options {
        self.cluster.tls = Some(tls);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn read(json: &str) -> Result<Options> {
        Options::from_value(&serde_json::from_str(json).unwrap())
    }

    #[test]
    fn a_member_survives_every_way_of_storing_it() {
        let options = Options::new("a")
            .node("n")
            .cluster("c")
            .listen("127.0.0.1:0")
            .listen("unix:/run/a.sock")
            .peer("b.example:7447")
            .peers(["[::1]:7447", "unix:/run/b.sock"])
            .discovery_multicast()
            .failure_timeout(Duration::from_millis(500))
            .tls(Tls::new("ca.pem", "cert.pem", "key.pem"));
        options.check().unwrap();
        assert_eq!(Options::from_value(&options.to_value()).unwrap(), options);
        let json = serde_json::to_string(&options).unwrap();
        assert!(json.contains(r#""failure_timeout":"500ms""#), "{json}");
        assert!(json.contains(r#""tls":{"ca":"ca.pem","cert":"cert.pem","key":"key.pem"}"#));
        assert_eq!(serde_json::from_str::<Options>(&json).unwrap(), options);
        let other = options.clone().peer("c:1");
        assert_eq!(options.differences(&other), ["peers"]);
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        let options = read(r#"{"cluster": "c", "listen": "a:1", "peers": "b:2"}"#).unwrap();
        assert_eq!(options, Options::unnamed().cluster("c").listen("a:1").peer("b:2"));
        assert_eq!(options.cluster.listens(), ["a:1"]);
        let options = read(r#"{"cluster": "c", "listen": [], "tls": null}"#).unwrap();
        assert_eq!(options, Options::unnamed().cluster("c"));
        assert_eq!(options.cluster.listens(), ["127.0.0.1:0"]);
        assert_eq!(options.cluster.timeout(), Duration::from_millis(2500));
        let Value::Map(alone) = Options::unnamed().to_value() else { panic!() };
        assert!(ClusterOptions::FIELDS.iter().all(|field| alone[*field] == Value::Nil));
    }

    #[test]
    fn wrong_cluster_fields_are_named() {
        for (json, expected) in [
            (r#""clustr": "c""#, "did you mean 'cluster'?"),
            (r#""cluster": "c", "peer": "a:1""#, "did you mean 'peers'?"),
            (r#""cluster": "c", "failure_timout": "1s""#, "did you mean 'failure_timeout'?"),
            (r#""cluster": "c", "tls": {"cer": "x"}"#, "did you mean 'cert'?"),
            (r#""cluster": """#, "cluster has 0 bytes"),
            (r#""cluster": 1"#, "cluster is text, not int"),
            (r#""cluster": "c", "listen": 7447"#, "listen is a list of texts"),
            (r#""cluster": "c", "peers": ["a:1", 2]"#, "one of them is int"),
            (r#""cluster": "c", "listen": "7447""#, "listen has \"7447\": it has no port"),
            (r#""cluster": "c", "peers": ["a:0"]"#, "port 0"),
            (r#""cluster": "c", "discovery": "dns""#, "\"dns\""),
            (r#""cluster": "c", "discovery": true"#, "discovery is text, not bool"),
            (r#""cluster": "c", "failure_timeout": 2"#, "such as \"60s\""),
            (r#""cluster": "c", "failure_timeout": "99ms""#, "from 100ms to 60s"),
            (r#""cluster": "c", "failure_timeout": "60001ms""#, "from 100ms to 60s"),
            (r#""cluster": "c", "tls": true"#, "a map of ca, cert and key"),
            (r#""cluster": "c", "tls": {"ca": "a", "cert": "b"}"#, "tls lacks key"),
            (r#""cluster": "c", "tls": {"ca": "a", "cert": 1}"#, "tls.cert is text, not int"),
            (r#""cluster": "c", "tls": {"ca": "a\u0000"}"#, "tls.ca"),
            (r#""cluster": "c", "clock": "manual""#, "clock is \"manual\""),
            (r#""listen": "a:1""#, "listen is given without cluster"),
            (r#""peers": ["a:1"]"#, "peers is given without cluster"),
            (r#""discovery": "multicast""#, "discovery is given without cluster"),
            (r#""failure_timeout": "1s""#, "failure_timeout is given without cluster"),
            (r#""tls": {}"#, "tls is given without cluster"),
        ] {
            let error = read(&format!("{{{json}}}")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            assert!(error.message().contains(expected), "{json}: {error}");
        }
    }
}
