import Links
import Manifest
import Platform
import Supervision

/// What is counted outlives a supervisor: a counter of `GET /metrics` goes on, or begins anew at 0, and never falls to another value.
///
/// Lines, probes, dropped lines and CPU time are in memory that the keeper holds, and change in place. Restarts are in the snapshot,
/// and are told as of the last one that is kept: what it does not have the next supervisor would not know.
extension SupervisorRole {
    /// Goes on with what supervisors before have counted, unless that may be what kills them.
    func openCounts(_ inventory: Inventory) {
        if let held = inventory.held[Held.counts], (inventory.welcome?.crashes ?? 0) < Self.crashesUntilFresh {
            do throws(SystemError) {
                counts = try KeptCounts(resuming: held)
                return
            } catch {
                log.write(.warning, "cannot read what was counted: counters of the metrics begin anew (\(error))")
            }
        }
        do throws(SystemError) {
            counts = try KeptCounts(keeping: Held.counts)
            if let descriptor = counts.descriptor { keeper?.send(.hold(name: Held.counts), [descriptor]) }
        } catch {
            log.write(
                .error, "cannot have held what is counted, which will begin anew with the next supervisor: \(error)")
        }
    }

    /// The manifest is another one: what was counted of services that are gone is of no use.
    func forgetCounts(beyond manifest: Manifest, _ leaving: Set<String>) {
        let kept = Set(manifest.services.map(\.name)).union(leaving)
        let isKept = { (name: String) in kept.contains(String(name.prefix { $0 != "/" })) }
        prober?.tally.keep(kept)
        healthProber?.tally.keep(kept)
        logDrops.keep(isKept)
        counts.keep(isKept)
    }
}

extension KeptCounts {
    /// So many looks in a row find less CPU time than there was before it is taken to be gone for good.
    private static let looksBelow: UInt64 = 3
    /// How many did so far is above the generation's number.
    private static let generationBits: UInt64 = 56

    /// CPU time of an instance in seconds, as a counter: that of a process which has left it, as one that was adopted and has ended
    /// does, stays in it. What is missing for a moment only, as that of a process while another one waits for it, is not counted
    /// again when it comes back. Another generation begins anew.
    func processorTime(_ seconds: Double, of instance: InstanceID, _ generation: Generation) -> Double {
        let now = UInt64(min(max(0, seconds), 1e12) * 1e6)
        let before = self[instance.description]
        let kept = before?[.processorGeneration] ?? 0
        let isSame = kept & (1 << Self.generationBits - 1) == generation.number
        let last = isSame ? before?[.processorLast] ?? 0 : 0
        let told = (isSame ? before?[.processorTold] ?? 0 : 0) &+ (now >= last ? now - last : 0)
        var below = now < last ? kept >> Self.generationBits + 1 : 0
        if below == Self.looksBelow { below = 0 }
        set(
            [
                (.processorTold, told), (.processorLast, below > 0 ? last : now),
                (.processorGeneration, generation.number | below << Self.generationBits),
            ],
            of: instance.description)
        return Double(told) / 1e6
    }
}

/// The columns of the supervisor: 8 to 17.
extension KeptCounts.Column {
    // Of a service.
    static let readyPassed = Self(8)
    static let readyFailed = Self(9)
    static let healthPassed = Self(10)
    static let healthFailed = Self(11)
    /// When an event has told last of dropped lines, in nanoseconds of the monotonic clock.
    static let dropsToldAt = Self(14)
    // Of an instance: what events have told of its dropped lines.
    static let toldLines = Self(12)
    static let toldBytes = Self(13)
    // And its CPU time in microseconds: what was told, the most that was found, and of which generation that was; above its
    // number, how many looks in a row have found less.
    static let processorTold = Self(15)
    static let processorLast = Self(16)
    static let processorGeneration = Self(17)
}
