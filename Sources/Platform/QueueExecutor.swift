package import Dispatch

/// Runs an actor's jobs on a serial dispatch queue, so that handlers of dispatch sources on that queue may enter the
/// actor with `assumeIsolated`. (`DispatchSerialQueue`, which would be an executor itself, does not exist on Linux.)
package final class QueueExecutor: SerialExecutor {
    /// The serial queue that the actor's work runs on.
    package let queue: DispatchQueue

    /// Creates an executor on a serial queue of its own.
    package init(label: String) { queue = DispatchQueue(label: label) }

    package func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        let executor = asUnownedSerialExecutor()
        queue.async { job.runSynchronously(on: executor) }
    }

    package func checkIsolated() { dispatchPrecondition(condition: .onQueue(queue)) }

    package func asUnownedSerialExecutor() -> UnownedSerialExecutor { UnownedSerialExecutor(ordinary: self) }
}
