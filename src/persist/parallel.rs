//! The same work on many items, by several threads.

use std::sync::atomic::{AtomicUsize, Ordering};

/// `work(0)`, `work(1)`, ... up to `count`, on `workers` threads, the calling one among them; the results are in that order.
/// Whoever is done takes the next number, so that no thread waits for a slow one while there is work.
pub(super) fn map<T: Send>(
    count: usize,
    workers: usize,
    work: impl Fn(usize) -> T + Sync,
) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let run = || {
        let numbers = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
        let mine = numbers.take_while(|number| *number < count);
        mine.map(|number| (number, work(number)))
            .collect::<Vec<(usize, T)>>()
    };
    let mut results = std::thread::scope(|scope| {
        let others: Vec<_> = (1..workers.min(count)).map(|_| scope.spawn(run)).collect();
        let mut results = run();
        for other in others {
            match other.join() {
                Ok(more) => results.extend(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        results
    });
    results.sort_unstable_by_key(|(number, _)| *number);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn results_are_in_order_whoever_makes_them() {
        for workers in [1, 2, 8] {
            for count in [0, 1, 7, 1000] {
                let squares: Vec<usize> = (0..count).map(|number| number * number).collect();
                assert_eq!(
                    super::map(count, workers, |number| number * number),
                    squares
                );
            }
        }
    }
}
