//! What connections send within one interval, added up where their slices will lie: of a million flows nothing has to
//! be copied when the interval closes, and the room of their slices is there once.

use std::collections::VecDeque;

use flowmeter_common::FlowCounters;

use super::key::{Pair, Side};
use crate::flow::Slice;

/// Where a slice in the making lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(u32);

/// The traffic of the interval that is open.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    /// Until the interval closes only the counters count: `forward` is what the key's source sent, `reverse` what its
    /// destination did.
    slices: Vec<Slice>,
    /// Places of connections that have left.
    vacant: Vec<Place>,
    /// Slots of the connections with traffic, in the order of their first record.
    pub(super) slots: VecDeque<u32>,
    /// Where the slices lie that are put in order; kept for its memory.
    order: Vec<u32>,
}

impl Traffic {
    /// Takes the room that the slices of the last interval had, if they are gone.
    pub(super) fn reuse(&mut self, slices: &mut Vec<Slice>) {
        if self.slices.is_empty() && slices.is_empty() && slices.capacity() > self.slices.capacity() {
            std::mem::swap(&mut self.slices, slices);
        }
    }

    /// A place for the traffic of the connection in `slot`.
    pub(super) fn open(&mut self, slot: u32) -> Place {
        self.slots.push_back(slot);
        if let Some(place) = self.vacant.pop() {
            *self.slice_mut(place) = Slice::default();
            return place;
        }
        let place = Place(u32::try_from(self.slices.len()).unwrap_or(u32::MAX));
        self.slices.push(Slice::default());
        place
    }

    /// What one end has sent so far.
    pub(super) fn sent_mut(&mut self, place: Place, side: Side) -> &mut FlowCounters {
        let slice = self.slice_mut(place);
        match side {
            Side::Source => &mut slice.forward,
            Side::Destination => &mut slice.reverse,
        }
    }

    /// What both ends have sent.
    pub(super) fn sent(&mut self, place: Place) -> Pair<FlowCounters> {
        let slice = self.slice_mut(place);
        Pair {
            source: slice.forward,
            destination: slice.reverse,
        }
    }

    /// Gives a place up whose slot is no longer in `slots`.
    pub(super) fn vacate(&mut self, place: Place) {
        self.vacant.push(place);
    }

    /// Replaces what was in the making by what came of it.
    pub(super) fn finish(&mut self, place: Place, slice: Slice) {
        *self.slice_mut(place) = slice;
    }

    /// Appends the slices to `slices` in the order of `places`, which are all that are not vacant, each once.
    pub(super) fn close(&mut self, places: impl Iterator<Item = Place>, slices: &mut Vec<Slice>) {
        let order = &mut self.order;
        order.clear();
        order.extend(places.map(|place| place.0));
        let lies = |order: &[u32], at: usize| order.get(at).map_or(at, |place| *place as usize);
        for at in 0..order.len() {
            // What lay there has made room for another before, and may have done so again.
            let mut from = lies(order, at);
            while from < at {
                from = lies(order, from);
            }
            if let Some(moved) = order.get_mut(at) {
                *moved = u32::try_from(from).unwrap_or(u32::MAX);
            }
            self.slices.swap(at, from);
        }
        self.slices.truncate(self.order.len());
        self.vacant.clear();
        if slices.is_empty() {
            std::mem::swap(&mut self.slices, slices);
        } else {
            slices.append(&mut self.slices);
        }
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "places come from open alone and stay in range until the interval closes"
    )]
    fn slice_mut(&mut self, place: Place) -> &mut Slice {
        &mut self.slices[place.0 as usize]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn open(traffic: &mut Traffic, id: u32) -> Place {
        let place = traffic.open(id);
        let slice = Slice {
            id: id.into(),
            ..Slice::default()
        };
        traffic.finish(place, slice);
        place
    }

    proptest! {
        #[test]
        fn slices_come_in_the_order_that_is_asked_for(
            left in prop::collection::vec(any::<bool>(), 1..80),
            late in 0..40_u64,
            keys in prop::collection::vec(any::<u64>(), 120),
            before in any::<bool>(),
        ) {
            let mut traffic = Traffic::default();
            let mut there = Vec::new();
            for (id, left) in (0..).zip(&left) {
                let place = open(&mut traffic, id);
                if *left {
                    traffic.vacate(place);
                } else {
                    there.push((id, place));
                }
            }
            // The first of these take the places that are free, in part or all of them.
            let first = u32::try_from(left.len()).unwrap();
            for id in (first..).take(usize::try_from(late).unwrap()) {
                there.push((id, open(&mut traffic, id)));
            }
            there.sort_by_key(|(id, _)| keys[*id as usize]);
            let (ids, places): (Vec<_>, Vec<_>) =
                there.into_iter().map(|(id, place)| (u64::from(id), place)).unzip();
            let mut slices: Vec<_> = before.then(|| Slice { id: 1000, ..Slice::default() }).into_iter().collect();
            traffic.close(places.into_iter(), &mut slices);
            let written: Vec<_> = slices.iter().map(|slice| slice.id).collect();
            let expected: Vec<_> = before.then_some(1000).into_iter().chain(ids).collect();
            prop_assert_eq!(written, expected);
        }
    }
}
