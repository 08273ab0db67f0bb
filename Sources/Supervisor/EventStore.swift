import Dispatch
import Events
import Platform

/// The events on a queue of their own: a disk that is slow holds up no restart.
actor EventStore {
    private let executor: QueueExecutor
    nonisolated var unownedExecutor: UnownedSerialExecutor { unsafe executor.asUnownedSerialExecutor() }
    private nonisolated var queue: DispatchQueue { executor.queue }
    private let file: EventFile

    /// What a supervisor begins with.
    struct Beginning: Sendable {
        /// The store.
        var store: EventStore
        /// Whether this keeper has told an event before; else what they come to is about processes that are no more.
        var isContinued: Bool
        /// The number of the last event.
        var last: UInt64
        /// What all of them come to.
        var ledger: EventLedger
    }

    /// Reads what is there.
    static func open(stateDirectory: String, counter: MemoryFile?, note: @escaping EventFile.Note) -> Beginning {
        let file = EventFile(stateDirectory: stateDirectory, counter: counter, note: note)
        let (isContinued, last, ledger) = (file.isContinued, file.last, file.ledger)
        return Beginning(
            store: EventStore(QueueConfined(file)), isContinued: isContinued, last: last, ledger: ledger)
    }

    private init(_ file: QueueConfined<EventFile>) {
        executor = QueueExecutor(label: "supd.events")
        self.file = file.value
    }

    /// Adds events, in the order of the calls; then calls back, on this queue, with the number of the last one, and with all of
    /// them, numbered.
    nonisolated func append(
        _ events: [EventRecord], done: @escaping @Sendable (_ last: UInt64, _ numbered: [EventRecord]) -> Void
    ) {
        queue.async {
            self.assumeIsolated { store in
                let numbered = store.file.append(events)
                done(store.file.last, numbered)
            }
        }
    }

    /// Reads lines after a number; see `EventFile.read`.
    nonisolated func read(
        after number: UInt64, limit: Int, _ filter: EventFilter? = nil,
        done: @escaping @Sendable (_ text: [UInt8], _ last: UInt64) -> Void
    ) {
        queue.async {
            let (text, last) = self.assumeIsolated { $0.file.read(after: number, limit: limit, filter) }
            done(text, last)
        }
    }

    /// Calls back once all that was added before is kept, or cannot be.
    nonisolated func whenKept(_ done: @escaping @Sendable () -> Void) { queue.async { done() } }
}
