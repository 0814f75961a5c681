//! One request: connects, asks, reads a bounded answer and closes.

use std::{
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs as _},
    pin::pin,
    sync::Arc,
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::{
    Request, Response, StatusCode, Uri,
    body::Incoming,
    client::conn::http1,
    header::{ACCEPT, CONNECTION, HOST, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, sync::Semaphore};

use crate::{
    decode,
    model::{server_status::ServerStatus, source::Why},
    observe::process_table::why,
};

/// A scoreboard of 20 000 workers is 20 KB long.
const LONGEST_BODY: usize = 64 << 10;
const LONGEST_HEADER: usize = 16 << 10;
const HTTP: u16 = 80;

/// Asks; who calls sets the deadline.
pub(super) async fn status(url: &Uri, lookups: Arc<Semaphore>) -> Result<ServerStatus, Why> {
    let stream = connect(url, lookups).await?;
    let mut builder = http1::Builder::new();
    builder.max_buf_size(LONGEST_HEADER);
    let handshake = builder.handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| reason(&error))?;
    let request = request(url)?;
    let mut exchange = pin!(async {
        let response = sender.send_request(request).await.map_err(|error| reason(&error))?;
        body(response).await
    });
    let mut connection = pin!(connection);
    let mut is_open = true;
    let body = loop {
        tokio::select! {
            body = &mut exchange => break body?,
            // It ends as soon as all of the answer has come, before that is read.
            _ = &mut connection, if is_open => is_open = false,
        }
    };
    decode::server_status::server_status(&body).map_err(|_| Why::Invalid)
}

async fn connect(url: &Uri, lookups: Arc<Semaphore>) -> Result<TcpStream, Why> {
    let host = url.host().ok_or(Why::Invalid)?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let port = url.port_u16().unwrap_or(HTTP);
    let addresses = match host.parse::<IpAddr>() {
        Ok(address) => vec![SocketAddr::new(address, port)],
        Err(_) => look_up((host.to_owned(), port), lookups).await?,
    };
    TcpStream::connect(addresses.as_slice()).await.map_err(|error| {
        let is_refused = error.kind() == io::ErrorKind::ConnectionRefused;
        if is_refused { Why::Missing } else { why(&error) }
    })
}

/// Nothing can stop a look-up, so that a permit goes with it to its very end: with a resolver that
/// hangs there are a few of them, not one more for each question.
async fn look_up(name: (String, u16), lookups: Arc<Semaphore>) -> Result<Vec<SocketAddr>, Why> {
    let permit = lookups.acquire_owned().await.map_err(|_| Why::Other)?;
    let looking = tokio::task::spawn_blocking(move || {
        let found = name.to_socket_addrs().map(Iterator::collect);
        drop(permit);
        found
    });
    // No such name, or nobody who knows it.
    looking.await.map_err(|_| Why::Other)?.map_err(|_| Why::Missing)
}

fn request(url: &Uri) -> Result<Request<Empty<Bytes>>, Why> {
    let authority = url.authority().ok_or(Why::Invalid)?;
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    Request::get(path)
        .header(HOST, authority.as_str())
        .header(CONNECTION, "close")
        .header(ACCEPT, "text/plain")
        .header(USER_AGENT, "gracekeeper")
        .body(Empty::new())
        .map_err(|_| Why::Invalid)
}

async fn body(response: Response<Incoming>) -> Result<Vec<u8>, Why> {
    // A redirection leads away from this server: what is there says nothing about it.
    if response.status() != StatusCode::OK {
        return Err(Why::Invalid);
    }
    let mut body = response.into_body();
    let mut read = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| reason(&error))?;
        let data = frame.into_data().unwrap_or_default();
        if read.len() + data.len() > LONGEST_BODY {
            return Err(Why::Limit);
        }
        read.extend(data);
    }
    Ok(read)
}

fn reason(error: &hyper::Error) -> Why {
    let source = std::error::Error::source(error);
    match source.and_then(|source| source.downcast_ref::<io::Error>()) {
        // The body was cut off.
        Some(error) if error.kind() == io::ErrorKind::UnexpectedEof => Why::Invalid,
        Some(error) => why(error),
        None => Why::Invalid,
    }
}
