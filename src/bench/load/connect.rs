//! The connections of a load: who opens which, with which producer id, from which offsets.

use std::net::SocketAddr;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use super::consumer::Tail;
use super::producer::Line;
use crate::bench::fetch::Position;
use crate::bench::limits::PRODUCER_ID_SECONDS;
use crate::bench::plan::Plan;
use crate::bench::problem::Problem;
use crate::bench::request::Identity;
use crate::bench::traffic::Start;
use crate::client::{Client, ClientOptions, OffsetSpec, Target};
use crate::io::{self, TcpStream};
use crate::model::{CoreId, Offset, ProducerEpoch, ProducerId, TopicName, TopicPartition};
use crate::protocol::ErrorCode;
use crate::protocol::messages::InitProducerIdRequest;

/// A producer id for each connection of an idempotent load.
pub(super) fn identities(plan: &Plan) -> Result<Vec<Identity>, Problem> {
    let load = &plan.traffic.load;
    if !load.idempotent {
        return Ok(Vec::new());
    }
    let mut client = Client::connect(&plan.bootstrap, ClientOptions::default())?;
    let mut request = InitProducerIdRequest::default();
    request.transactional_id = None;
    request.transaction_timeout_ms = i32::MAX;
    let give_up = io::now() + Duration::from_secs(PRODUCER_ID_SECONDS);
    (0..load.connections)
        .map(|_| {
            loop {
                let response = client.call(Target::Any, &request)?;
                match ErrorCode::from_code(response.error_code) {
                    Some(ErrorCode::None) => {
                        let id = ProducerId(response.producer_id);
                        let epoch = ProducerEpoch(response.producer_epoch);
                        return Ok(Identity::new(id, epoch));
                    }
                    // Kafka gives none until it has read its transaction log.
                    Some(code) if code.is_retriable() && io::now() < give_up => {
                        io::blocking::sleep(Duration::from_millis(100));
                    }
                    code => {
                        let name = code.map_or("an unknown error", ErrorCode::name);
                        return Err(Problem::new(format!("no producer id: {name}")));
                    }
                }
            }
        })
        .collect()
}

/// Where consumers begin, place by place.
pub(super) fn positions(plan: &Plan) -> Result<Vec<Position>, Problem> {
    let Some(consume) = &plan.traffic.consume else {
        return Ok(Vec::new());
    };
    let mut client = Client::connect(&plan.bootstrap, ClientOptions::default())?;
    let mut list = |spec| -> Result<Vec<Offset>, Problem> {
        let wanted = plan.places.iter().map(|place| {
            let partition = TopicPartition {
                topic: TopicName::new(&place.topic).expect("a topic that was made"),
                index: place.index,
            };
            (partition, spec)
        });
        let listed = client.list_offsets(&wanted.collect::<Vec<_>>())?;
        let offsets = listed.iter();
        Ok(offsets
            .map(|listed| listed.offset.unwrap_or(Offset::ZERO))
            .collect())
    };
    let starts = list(OffsetSpec::Earliest)?;
    let ends = list(OffsetSpec::Latest)?;
    let places = plan.places.iter().zip(starts.into_iter().zip(ends));
    Ok(places
        .map(|(place, (start, end))| {
            let next = match consume.start {
                Start::Earliest => start,
                Start::Latest => end,
            };
            let position = Position::new(place.clone(), start, next);
            match consume.stop_at_end {
                true => position.upto(end),
                false => position,
            }
        })
        .collect())
}

pub(super) type Ends = (Vec<Rc<Line>>, Vec<Rc<Tail>>);

/// Opens the connections that are this core's.
pub(super) async fn connect(
    plan: &Plan,
    core: CoreId,
    (identities, positions): (Vec<Identity>, Vec<Position>),
) -> Result<Ends, Problem> {
    let is_own = |connection: u32, cores: &Range<usize>| {
        cores.start + connection as usize % cores.len() == usize::from(core.0)
    };
    let (producing, consuming) = plan.cores();
    let mut lines = Vec::new();
    let connections = plan.traffic.load.connections;
    for connection in (0..connections).filter(|&connection| is_own(connection, &producing)) {
        let identity = identities.get(connection as usize).cloned();
        lines.push(Rc::new(Line::open(plan, connection, identity).await?));
    }
    let mut tails = Vec::new();
    if let Some(consume) = &plan.traffic.consume {
        let own = |&connection: &u32| is_own(connection, &consuming);
        for connection in (0..consume.connections).filter(own) {
            tails.push(Rc::new(Tail::open(plan, connection, &positions).await?));
        }
    }
    Ok((lines, tails))
}

/// Which leader a connection is for, which number it has among that leader's connections, and how
/// many these are.
pub(super) fn seat(connection: u32, connections: u32, leaders: usize) -> (usize, u32, u32) {
    let leaders = leaders as u32;
    let leader = connection % leaders;
    let number = connection / leaders;
    (
        leader as usize,
        number,
        (connections - leader).div_ceil(leaders),
    )
}

pub(super) async fn open_stream(address: SocketAddr, what: &str) -> Result<TcpStream, Problem> {
    let limit = Duration::from_secs(10);
    let stream = io::timeout(limit, TcpStream::connect(address)).await;
    let stream = stream.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()));
    stream.map_err(|error| Problem::lost(format!("cannot open {what} to {address}: {error}")))
}
