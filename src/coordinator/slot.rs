//! One key of the offsets topic: what is durable, and what is on its way.

use crate::model::Offset;

/// A key's value, durable and newest.
///
/// Consumers are shown what is durable; decisions that write are made on what is newest, so that
/// the order of the log and the order of the decisions are one. A crash leaves what is durable.
#[derive(Clone, Debug)]
pub(super) struct Slot<V> {
    durable: Option<(Offset, V)>,
    /// The value of the last append, while appends are in flight.
    newest: Option<V>,
    in_flight_count: u32,
}

impl<V> Default for Slot<V> {
    fn default() -> Slot<V> {
        Slot {
            durable: None,
            newest: None,
            in_flight_count: 0,
        }
    }
}

impl<V> Slot<V> {
    /// What survives a crash.
    pub(super) fn durable(&self) -> Option<&V> {
        self.durable.as_ref().map(|(_, value)| value)
    }

    /// What was appended last, durable or not.
    pub(super) fn newest(&self) -> Option<&V> {
        if self.in_flight_count > 0 {
            self.newest.as_ref()
        } else {
            self.durable()
        }
    }

    /// Whether nothing is there and nothing is coming.
    pub(super) fn is_blank(&self) -> bool {
        self.durable.is_none() && self.in_flight_count == 0
    }

    /// Notes an append; `None` is a tombstone.
    pub(super) fn begin(&mut self, value: Option<V>) {
        self.newest = value;
        self.in_flight_count += 1;
    }

    /// The oldest append in flight became durable at `offset`. Returns the offset of the record
    /// that it replaces.
    pub(super) fn settle(&mut self, value: Option<V>, offset: Offset) -> Option<Offset> {
        self.finish();
        self.place(value, offset)
    }

    /// The oldest append in flight failed.
    pub(super) fn abandon(&mut self) {
        self.finish();
    }

    /// Sets what is durable, as a replay does.
    pub(super) fn place(&mut self, value: Option<V>, offset: Offset) -> Option<Offset> {
        let replaced = self.durable.take().map(|(offset, _)| offset);
        self.durable = value.map(|value| (offset, value));
        replaced
    }

    fn finish(&mut self) {
        assert!(self.in_flight_count > 0, "an append ends once");
        self.in_flight_count -= 1;
        if self.in_flight_count == 0 {
            self.newest = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_runs_ahead_of_durable() {
        let mut slot = Slot::default();
        assert!(slot.is_blank());
        slot.begin(Some(1));
        slot.begin(Some(2));
        assert_eq!((slot.durable(), slot.newest()), (None, Some(&2)));
        assert_eq!(slot.settle(Some(1), Offset(10)), None);
        assert_eq!((slot.durable(), slot.newest()), (Some(&1), Some(&2)));
        assert_eq!(slot.settle(Some(2), Offset(11)), Some(Offset(10)));
        slot.begin(None);
        assert_eq!((slot.durable(), slot.newest()), (Some(&2), None));
        slot.abandon();
        assert_eq!((slot.durable(), slot.newest()), (Some(&2), Some(&2)));
        slot.begin(None);
        assert_eq!(slot.settle(None, Offset(12)), Some(Offset(11)));
        assert!(slot.is_blank());
    }
}
