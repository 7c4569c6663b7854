//! Quiet connections in the order in which they fell quiet: what timeouts and eviction walk.
//!
//! Doubly linked lists over table slots, kept apart from the connections so that moving one touches twelve
//! bytes of its neighbours, not their counters.

/// Which timeout a quiet connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Queue {
    Tcp = 0,
    Other = 1,
    /// TCP that has finished; its end is not written yet.
    Closing = 2,
    /// The end is written; stragglers may come.
    Lingering = 3,
}

impl Queue {
    pub(super) const ALL: [Self; 4] = [Self::Tcp, Self::Other, Self::Closing, Self::Lingering];

    const fn sentinel(self) -> u32 {
        self as u32
    }
}

const SENTINELS: u32 = 4;

#[derive(Clone, Copy, Debug)]
struct Link {
    previous: u32,
    next: u32,
    queue: Queue,
}

/// The queues. A slot is in one queue at most. Nodes 0 to 3 are the queues' ends, node 4 is slot 0.
#[derive(Debug)]
pub(super) struct Queues {
    links: Vec<Link>,
    lingering: usize,
}

impl Queues {
    pub(super) fn new() -> Self {
        let links = Queue::ALL
            .map(|queue| Link {
                previous: queue.sentinel(),
                next: queue.sentinel(),
                queue,
            })
            .to_vec();
        Self { links, lingering: 0 }
    }

    /// Makes room for one more slot, the next higher.
    pub(super) fn add_slot(&mut self) {
        self.links.push(Link {
            previous: 0,
            next: 0,
            queue: Queue::Other,
        });
    }

    /// `slot` must be in no queue.
    pub(super) fn push_back(&mut self, queue: Queue, slot: u32) {
        let node = slot + SENTINELS;
        let end = queue.sentinel();
        let last = self.link(end).previous;
        *self.link_mut(node) = Link {
            previous: last,
            next: end,
            queue,
        };
        self.link_mut(last).next = node;
        self.link_mut(end).previous = node;
        self.lingering += usize::from(queue == Queue::Lingering);
    }

    /// `slot` must be in a queue.
    pub(super) fn remove(&mut self, slot: u32) {
        let Link {
            previous,
            next,
            queue,
        } = self.link(slot + SENTINELS);
        self.link_mut(previous).next = next;
        self.link_mut(next).previous = previous;
        self.lingering -= usize::from(queue == Queue::Lingering);
    }

    /// The slot that has been quiet the longest.
    pub(super) fn front(&self, queue: Queue) -> Option<u32> {
        self.link(queue.sentinel()).next.checked_sub(SENTINELS)
    }

    /// The slot behind this one in its queue.
    pub(super) fn after(&self, slot: u32) -> Option<u32> {
        self.link(slot + SENTINELS).next.checked_sub(SENTINELS)
    }

    /// Slots in [`Queue::Lingering`].
    pub(super) fn lingering(&self) -> usize {
        self.lingering
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "nodes are sentinels or slots that add_slot made; none is ever taken away"
    )]
    fn link(&self, node: u32) -> Link {
        self.links[node as usize]
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "nodes are sentinels or slots that add_slot made; none is ever taken away"
    )]
    fn link_mut(&mut self, node: u32) -> &mut Link {
        &mut self.links[node as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(queues: &Queues, queue: Queue) -> Vec<u32> {
        std::iter::successors(queues.front(queue), |&slot| queues.after(slot)).collect()
    }

    #[test]
    fn queues_keep_order_and_do_not_mix() {
        let mut queues = Queues::new();
        (0..6).for_each(|_| queues.add_slot());
        for slot in [3, 0, 5] {
            queues.push_back(Queue::Tcp, slot);
        }
        for slot in [1, 2] {
            queues.push_back(Queue::Lingering, slot);
        }
        assert_eq!(slots(&queues, Queue::Tcp), [3, 0, 5]);
        assert_eq!(slots(&queues, Queue::Lingering), [1, 2]);
        assert!(slots(&queues, Queue::Other).is_empty());
        for (slot, left) in [(0, &[3, 5][..]), (5, &[3]), (3, &[])] {
            queues.remove(slot);
            assert_eq!(slots(&queues, Queue::Tcp), left);
        }
        assert_eq!(queues.lingering(), 2);
        queues.remove(1);
        assert_eq!(queues.lingering(), 1);
        queues.push_back(Queue::Tcp, 0);
        assert_eq!(slots(&queues, Queue::Tcp), [0]);
        assert_eq!(slots(&queues, Queue::Lingering), [2]);
    }
}
