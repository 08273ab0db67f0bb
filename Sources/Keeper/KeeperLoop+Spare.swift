import Links
import Platform

/// A process that waits to become the next child, whichever it is.
struct Spare {
    let process: SpareProcess
    /// The read ends of its stdout and stderr.
    let output: [Descriptor]
    let exitToken: UInt64
}

/// Once there is a standing order (a restart of which every moment counts, since clients wait for it) one process is kept
/// forked in advance: clone(2) of the keeper's memory and the page faults after it are a third of what a restart takes.
extension KeeperLoop {
    /// So long after it is wanted it is forked: what was just started has the processor first.
    private static let spareDelay: Int64 = 100_000_000

    func wantSpare() {
        if spare == nil { spareDue = min(spareDue, monotonicNanoseconds() + Self.spareDelay) }
    }

    func forkSpareIfDue() {
        guard spareDue <= monotonicNanoseconds() else { return }
        spareDue = .max
        // Without one, starts are as they always were: no failure is worth a word.
        if spare == nil, exitCode == nil { spare = try? forkSpare() }
    }

    private func forkSpare() throws -> Spare {
        guard try signals.descriptor.duplicate().raw + 4 < descriptorReserve else {
            throw SpawnError(stage: .prepare, code: ErrorCode.tooManyFiles)
        }
        var spawn = Spawn(candidates: [], arguments: [], environment: [])
        spawn.diesWithParent = true
        spawn.resetsOOMScore = resetsOOMScore
        spawn.avoidsNewCalls = configuration.usesOldKernelPaths
        let standardOutput = try makePipe(nonblockingRead: true)
        let standardError = try makePipe(nonblockingRead: true)
        spawn.descriptors = [nil, standardOutput.write, standardError.write]
        let process = try SpareProcess(spawn)
        do throws(SystemError) {
            let exitToken = try watch(process.forked.process.descriptor, .spareExit)
            knownProcesses.insert(process.forked.pid)
            return Spare(process: process, output: [standardOutput.read, standardError.read], exitToken: exitToken)
        } catch {
            abandon(process.forked)
            throw error
        }
    }

    /// Lets the spare process become a child, if there is one and it can; answers its pid.
    func useSpare(for plan: SpawnPlan, _ spawn: Spawn) -> Int32? {
        // One that somebody has killed meanwhile starts nothing.
        guard plan.capturesOutput, plan.passed.isEmpty, let spare, lives(spare), spare.process.take(spawn) else {
            return nil
        }
        giveOutput(spare.output, to: plan.credentials)
        spare.process.go()
        self.spare = nil
        let forked = spare.process.forked
        sources[spare.exitToken] = .childExit(plan.id)
        children[plan.id] = ChildResources(
            pid: forked.pid, process: forked.process, output: spare.output, exitToken: spare.exitToken)
        do throws(SystemError) {
            children[plan.id]?.status = (forked.status, try watch(forked.status, .childStatus(plan.id)))
        } catch {
            // Nobody could learn what becomes of it.
            try? forked.process.signal(SignalNumber.kill)
        }
        wantSpare()
        return forked.pid
    }

    private func lives(_ spare: Spare) -> Bool {
        do { return try spare.process.forked.process.exit(keepsZombie: true) == nil } catch { return false }
    }

    /// Somebody has ended it, or it could not even begin.
    func spareExited() {
        guard let spare else { return }
        guard (try? spare.process.forked.process.exit()) != .some(nil) else { return }
        unwatch(spare.process.forked.process.descriptor, spare.exitToken)
        knownProcesses.remove(spare.process.forked.pid)
        self.spare = nil
    }
}
