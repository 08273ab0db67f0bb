import Dispatch
import Links
import Metrics
import Platform
import Supervision

/// What instances have used outlives a supervisor: after each look it is written into a new memfd, which the keeper holds in the
/// place of the one before. So nothing is ever read that is written half, no disk has to do with it, and a crash loses no more
/// than the look under way.
extension SupervisorRole {
    /// Has the keeper hold what is known by now; what is found meanwhile is for the next time.
    func keepUsageSoon() {
        guard !usage.isKeeping else { return }
        usage.isKeeping = true
        let archive = UsageArchive(usage.history, wantedUntil: usage.wantedUntil)
        Self.sampling.async { [role = self] in
            let outcome = Self.write(archive)
            role.queue.async {
                role.assumeIsolated { role in
                    role.usage.isKeeping = false
                    // A newer one is there already.
                    if !role.upgrades.hasLeft { role.keepUsage(outcome) }
                }
            }
        }
    }

    /// The same before this process ends.
    func keepUsageNow() {
        guard usage.history.latest != nil else { return }
        keepUsage(Self.write(UsageArchive(usage.history, wantedUntil: usage.wantedUntil)))
    }

    private func keepUsage(_ outcome: Result<Descriptor, SystemError>) {
        switch outcome {
        case .success(let descriptor): keeper?.send(.hold(name: Held.usage), [descriptor])
        case .failure(let error): log.write(.error, "cannot keep what instances have used: \(error)")
        }
    }

    private static func write(_ archive: UsageArchive) -> Result<Descriptor, SystemError> {
        Result { () throws(SystemError) in
            let file = try MemoryFile(name: Held.usage)
            var end = 0
            try archive.write { (words) throws(SystemError) in end = try file.write(words: words, at: end) }
            return file.descriptor
        }
    }

    /// Goes on with what the supervisor before has found. It may be megabytes: they are read off the queue, and until then
    /// nobody looks.
    func takeOverUsage(_ inventory: Inventory, _ welcome: Inventory.Welcome) {
        guard let held = inventory.held[Held.usage], welcome.crashes < Self.crashesUntilFresh else { return }
        usage.isLooking = true
        let haste = usage.haste
        Self.sampling.async { [role = self] in
            let words = Result { () throws(SystemError) in
                try MemoryFile(received: held).readWords(limit: UsageArchive.mostWords)
            }
            let archive = (try? words.get()).flatMap { UsageArchive($0, haste: haste, at: monotonicNanoseconds()) }
            role.queue.async { role.assumeIsolated { $0.usageWasTakenOver(archive) } }
        }
    }

    private func usageWasTakenOver(_ archive: UsageArchive?) {
        usage.isLooking = false
        if let archive {
            usage.history = archive.history
            let latest = monotonicNanoseconds() + usage.lease
            usage.wantedUntil = max(usage.wantedUntil, min(archive.wantedUntil, latest))
            if let application {
                let known = Set(application.instanceIDs.map(\.description))
                usage.history.keep(known.contains)
            }
        } else {
            log.write(.warning, "cannot read what instances have used before: its record begins anew")
        }
        if usage.waiting.isEmpty { arrangeUsageLook() } else { lookAtUsage() }
    }
}
