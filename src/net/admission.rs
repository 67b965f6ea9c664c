//! Who may connect: `max.connections`, and `max.connections.per.ip` with its overrides; and which
//! core serves whom.
//!
//! The kernel deals connections to cores by a hash that knows no load, so a few busy connections
//! often share a core while another has none. Here they come in rounds: each core gets one of every
//! round, but none gets one that has two more than another already. Who gets the first of a round
//! is drawn, because clients open connections in patterns too, first an idle one for metadata and
//! then one for data: in a fixed order all the busy ones could come to one core. (Nor does a
//! connection go where the fewest are: an idle one would keep a busy one away.) What the hash does
//! is in kernel-notes/reuseport.md.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::listener::Guest;
use crate::config::BrokerConfig;
use crate::io::mailbox::{self, MailSender, Mailbox};
use crate::limits::{CONNECTIONS_PER_CORE_MAX, GUESTS_WAITING_MAX};
use crate::model::CoreId;

/// The connections of all cores, counted. Shared by them, because bounds and turns are of all
/// together; locked when a connection begins and when it ends, never between.
pub struct Admission {
    connections_max: usize,
    per_ip_max: usize,
    per_ip_overrides: Vec<(IpAddr, usize)>,
    counts: Mutex<Counts>,
    /// Each core takes its own.
    doors: Mutex<Vec<Option<Door>>>,
}

/// Where a core gets connections that others have accepted, and where it sends what it has.
pub(super) type Door = (Mailbox<Guest>, Vec<MailSender<Guest>>);

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_ip: HashMap<IpAddr, usize>,
    by_core: Vec<usize>,
    /// The cores that have yet to get a connection of this round.
    round: Vec<usize>,
    draws: u64,
}

/// A connection that was let in; dropping it makes room for another.
pub(super) struct Admitted {
    admission: Arc<Admission>,
    ip: IpAddr,
    core: CoreId,
}

/// Which cores may serve a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seat {
    Any,
    /// The client has chosen it.
    Only(CoreId),
}

impl Admission {
    /// The bounds of a configuration, and so many cores; nobody is connected.
    pub fn new(config: &BrokerConfig, cores_count: usize) -> Arc<Admission> {
        let count = |max: i32| usize::try_from(max).unwrap_or(0);
        let network = &config.network;
        let overrides = network.connections_per_ip_overrides.iter();
        Arc::new(Admission {
            connections_max: count(network.connections_max),
            per_ip_max: count(network.connections_per_ip_max),
            per_ip_overrides: overrides.map(|(ip, max)| (*ip, count(*max))).collect(),
            counts: Mutex::new(Counts::new(cores_count)),
            doors: Mutex::new(doors(cores_count)),
        })
    }

    /// A core's door; asked for once.
    pub(super) fn door(&self, core: CoreId) -> Door {
        let mut doors = self.doors.lock().unwrap_or_else(PoisonError::into_inner);
        let door = doors[usize::from(core.0)].take();
        door.expect("each core asks for its own, once")
    }

    /// Lets a connection of `ip` in, unless it is one too many.
    pub(super) fn admit(self: &Arc<Self>, ip: IpAddr, seat: Seat) -> Option<Admitted> {
        let mut overrides = self.per_ip_overrides.iter();
        let own = overrides.find(|(host, _)| *host == ip).map(|(_, max)| *max);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let from_ip = counts.by_ip.get(&ip).copied().unwrap_or(0);
        if counts.all >= self.connections_max || from_ip >= own.unwrap_or(self.per_ip_max) {
            return None;
        }
        let core = counts.seat(seat)?;
        counts.all += 1;
        counts.by_ip.insert(ip, from_ip + 1);
        Some(Admitted {
            admission: self.clone(),
            ip,
            core,
        })
    }
}

fn doors(cores_count: usize) -> Vec<Option<Door>> {
    let doors = mailbox::channels(cores_count, GUESTS_WAITING_MAX);
    doors.into_iter().map(Some).collect()
}

impl Counts {
    fn new(cores_count: usize) -> Counts {
        Counts {
            all: 0,
            by_ip: HashMap::new(),
            by_core: vec![0; cores_count],
            round: Vec::new(),
            draws: 0,
        }
    }

    /// Takes a seat; none if a core may have no more.
    fn seat(&mut self, seat: Seat) -> Option<CoreId> {
        let core = match seat {
            Seat::Only(core) => usize::from(core.0),
            Seat::Any => self.draw()?,
        };
        let count = &mut self.by_core[core];
        (*count < CONNECTIONS_PER_CORE_MAX).then(|| {
            *count += 1;
            CoreId(core as u16)
        })
    }

    /// One of the cores whose turn it is; none if all are full.
    fn draw(&mut self) -> Option<usize> {
        let fewest = *self.by_core.iter().min()?;
        let most = (fewest + 1).min(CONNECTIONS_PER_CORE_MAX - 1);
        let may = |core: &usize| self.by_core[*core] <= most;
        if !self.round.iter().any(may) {
            self.round = (0..self.by_core.len()).collect();
        }
        let turns: Vec<usize> = self.round.iter().copied().filter(may).collect();
        // Knuth's 64-bit linear congruential generator, its upper half.
        let step = self.draws.wrapping_mul(6_364_136_223_846_793_005);
        self.draws = step.wrapping_add(1_442_695_040_888_963_407);
        let drawn = ((self.draws >> 33) as usize).checked_rem(turns.len())?;
        let core = turns[drawn];
        self.round.retain(|one| *one != core);
        Some(core)
    }
}

impl Admitted {
    /// The core that serves it.
    pub(super) fn core(&self) -> CoreId {
        self.core
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let counts = self.admission.counts.lock();
        let mut counts = counts.unwrap_or_else(PoisonError::into_inner);
        counts.all -= 1;
        counts.by_core[usize::from(self.core.0)] -= 1;
        if let Some(from_ip) = counts.by_ip.get_mut(&self.ip) {
            *from_ip -= 1;
            if *from_ip == 0 {
                counts.by_ip.remove(&self.ip);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(connections_max: usize, per_ip_max: usize, cores_count: usize) -> Arc<Admission> {
        Arc::new(Admission {
            connections_max,
            per_ip_max,
            per_ip_overrides: vec![(ip(9), 3)],
            counts: Mutex::new(Counts::new(cores_count)),
            doors: Mutex::new(doors(cores_count)),
        })
    }

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn connections_are_bounded_in_all_and_by_address() {
        let admission = admission(4, 2, 1);
        let admit = |ip| admission.admit(ip, Seat::Any);
        let mut inside: Vec<Admitted> = (0..2).filter_map(|_| admit(ip(1))).collect();
        assert_eq!(inside.len(), 2);
        assert!(admit(ip(1)).is_none(), "two of one address");
        inside.extend((0..2).filter_map(|_| admit(ip(9))));
        assert_eq!(inside.len(), 4);
        assert!(admit(ip(9)).is_none(), "four of all");
        inside.truncate(1);
        inside.extend((0..3).filter_map(|_| admit(ip(9))));
        assert_eq!(inside.len(), 4);
        drop(inside);
        let counts = admission.counts.lock().expect("nobody panicked");
        assert!(counts.all == 0 && counts.by_ip.is_empty() && counts.by_core == [0]);
    }

    #[test]
    fn connections_take_turns_on_the_cores_and_none_is_left_behind() {
        let admission = admission(usize::MAX, usize::MAX, 3);
        let any = || admission.admit(ip(1), Seat::Any).expect("there is room");
        let counts = || {
            admission
                .counts
                .lock()
                .expect("nobody panicked")
                .by_core
                .clone()
        };
        let mut all = Vec::new();
        for round in 1..=100 {
            all.extend((0..3).map(|_| any()));
            assert_eq!(counts(), [round, round, round]);
        }
        // Every third connection is busy, and no core has them all.
        let busy = all.iter().skip(2).step_by(3);
        let of_core = |core| busy.clone().filter(|one| one.core().0 == core).count();
        assert!((0..3).all(|core| (20..=50).contains(&of_core(core))));
        drop(all);
        assert_eq!(counts(), [0, 0, 0]);
        let only = |core| admission.admit(ip(1), Seat::Only(CoreId(core)));
        let chosen: Vec<Admitted> = (0..5).filter_map(|_| only(0)).collect();
        assert_eq!(counts(), [5, 0, 0]);
        let others: Vec<Admitted> = (0..8).map(|_| any()).collect();
        assert_eq!(counts(), [5, 4, 4]);
        drop(chosen);
        let more: Vec<Admitted> = (0..4).map(|_| any()).collect();
        assert_eq!(counts().iter().sum::<usize>(), 12);
        assert!(counts().iter().all(|count| (3..=5).contains(count)));
        drop((others, more));
    }

    #[test]
    fn a_core_has_as_many_as_it_may_have_and_no_more() {
        let admission = admission(usize::MAX, usize::MAX, 2);
        let any = || admission.admit(ip(1), Seat::Any);
        let all: Vec<Admitted> = std::iter::from_fn(any).collect();
        assert_eq!(all.len(), 2 * CONNECTIONS_PER_CORE_MAX);
        assert!(any().is_none() && admission.admit(ip(2), Seat::Only(CoreId(0))).is_none());
    }
}
