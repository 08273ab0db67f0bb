import Dispatch
import FoundationEssentials
import Links
import Manifest
import Platform
import Supervision

/// What follows changes with some delay: the snapshot, the status line, the progress of the start.
extension SupervisorRole {
    /// Writing down hundreds of instances takes milliseconds: not on the queue that restarts things.
    private static let writing = DispatchQueue(label: "supd.snapshot", qos: .utility)

    /// What may lag behind by a tenth of a second: the snapshot, the status line, the progress of the start.
    func doUpkeep() {
        upkeep.began()
        guard let application else { return }
        arrangeHeirs()
        keepSnapshotSoon(of: application)
        let views = application.views(at: now)
        let addresses = Dictionary(
            application.manifest.services.map { service in
                (service.name, openAddresses(of: service).map { service.opened($0) })
            }, uniquingKeysWith: +)
        for line in progress.lines(views, addresses: addresses, at: now) { log.write(.info, line) }
        let status = progress.statusLine(views, isShuttingDown: isShuttingDown)
        if status != upkeep.lastStatus {
            upkeep.lastStatus = status
            keeper?.send(.status(status))
        }
        if isShuttingDown {
            // A service may have asked for more time than it has by the manifest.
            let underWay = UInt64(clamping: application.longestStopUnderWay(at: now) / 1000) + 10_000_000
            keeper?.send(.stopping(microseconds: max(application.longestStop, underWay)))
        }
    }

    /// Keeps a snapshot of now before anything else happens: what a user asked for is to outlive this process.
    func keepSnapshotNow() {
        guard let application else { return }
        snapshotNumber += 1
        let snapshot = application.snapshot
        keep(snapshot, Self.write(snapshot), number: snapshotNumber)
    }

    /// One at a time; what changes meanwhile is for the next one.
    private func keepSnapshotSoon(of application: Application) {
        guard !isWritingSnapshot else { return upkeep.request() }
        isWritingSnapshot = true
        snapshotNumber += 1
        let number = snapshotNumber
        let snapshot = application.snapshot
        Self.writing.async { [self] in
            let outcome = Self.write(snapshot)
            queue.async {
                self.assumeIsolated {
                    $0.isWritingSnapshot = false
                    $0.keep(snapshot, outcome, number: number)
                }
            }
        }
    }

    private static func write(_ snapshot: Snapshot) -> Result<Descriptor, any Error> {
        Result {
            let file = try MemoryFile(name: Held.snapshot)
            try file.write([UInt8](JSONEncoder().encode(snapshot)), at: 0)
            return file.descriptor
        }
    }

    private func keep(_ snapshot: Snapshot, _ outcome: Result<Descriptor, any Error>, number: UInt64) {
        // A newer one is there already.
        guard number == snapshotNumber else { return }
        switch outcome {
        case .success(let descriptor):
            if keeper?.send(.hold(name: Held.snapshot), [descriptor]) == true { keptSnapshot = snapshot }
        case .failure(let error): log.write(.error, "cannot keep a snapshot: \(error)")
        }
    }
}
