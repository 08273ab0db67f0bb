import FoundationEssentials
import Links
import Platform

/// The numbers under which a program that is tried finds what it is given; /dev/null stands for what there is none of.
package enum TrialDescriptor {
    /// A socket for the answer: one packet, a `TrialAnswer` as JSON.
    package static let answer: Int32 = 3
    /// The program's own file.
    package static let image: Int32 = 4
    /// The tables, a `KeeperState` as JSON in a file in memory.
    package static let state: Int32 = 5
    /// The accepted manifest.
    package static let manifest: Int32 = 6
    /// The supervisor's snapshot.
    package static let snapshot: Int32 = 7
}

/// A program that is being tried in a child.
struct Trial {
    /// So much of its output is kept for the report.
    static let outputLimit = 4096

    let image: ProgramImage
    let nonce: String
    let pid: Int32
    let process: ProcessDescriptor
    let exitToken: UInt64
    var status: (descriptor: Descriptor, token: UInt64)?
    var answering: (socket: PacketSocket, token: UInt64)?
    var output: (descriptor: Descriptor, token: UInt64)?
    /// It could not even be executed.
    var failure: SpawnError?
    var answer: TrialAnswer?
    var text: [UInt8] = []
}

/// Trying a program: what becomes of the child decides, not what is known of the file. Nothing that it does can touch what
/// runs: it has copies of the tables, and a link that nobody else reads.
extension KeeperLoop {
    func beginTrial(of path: String?) {
        let path = absolutePath(path ?? configuration.program.path)
        guard trial == nil else { return trialFailed(path, "the trial before is still ending") }
        let image: ProgramImage
        do throws(SystemError) {
            image = try ProgramImage(path)
        } catch {
            return trialFailed(path, "cannot open it: \(error.reason)")
        }
        do {
            trial = try startTrial(of: image)
        } catch {
            trialFailed(path, "cannot start a process to try it in: \(error)")
        }
    }

    private func trialFailed(_ path: String, _ words: String) {
        events.append(.trialEnded(TrialReport(path: path, failure: words)))
    }

    private func startTrial(of image: ProgramImage) throws -> Trial {
        let nonce = "\(monotonicNanoseconds())-\(UInt64.random(in: .min ... .max))"
        let state = try MemoryFile(name: "supd-trial")
        try state.write(try tables(nonce: nonce).encoded(), at: 0)
        let (ours, theirs) = try PacketSocket.pair()
        let output = try makePipe(nonblockingRead: true)
        var spawn = Spawn(
            candidates: [ProgramImage.path(ofDescriptor: TrialDescriptor.image)],
            arguments: configuration.trialArguments, environment: configuration.environment)
        spawn.diesWithParent = true
        spawn.avoidsNewCalls = configuration.usesOldKernelPaths
        spawn.descriptors = [
            nil, output.write, output.write, theirs.descriptor, image.descriptor,
            try MemoryFile.forReading(state.descriptor), try held[HeldName.manifest].map(MemoryFile.forReading),
            try held[HeldName.snapshot].map(MemoryFile.forReading),
        ]
        let forked = try startSpendingReserve(spawn)
        do throws(SystemError) {
            var trial = Trial(
                image: image, nonce: nonce, pid: forked.pid, process: forked.process,
                exitToken: try watch(forked.process.descriptor, .trialExit))
            trial.status = (forked.status, try watch(forked.status, .trialStatus))
            trial.answering = (ours, try watch(ours.descriptor, .trialAnswer))
            trial.output = (output.read, try watch(output.read, .trialOutput))
            knownProcesses.insert(forked.pid)
            return trial
        } catch {
            abandon(forked)
            throw error
        }
    }

    func trialStatusChanged() {
        guard let status = trial?.status else { return }
        switch Spawn.outcome(of: status.descriptor) {
        case .pending: return
        case .executed: break
        case .failed(let error): trial?.failure = error
        }
        unwatch(status.descriptor, status.token)
        trial?.status = nil
    }

    func trialAnswered() {
        guard let answering = trial?.answering else { return }
        switch try? answering.socket.receive(limit: TrialAnswer.limit) {
        case .wouldBlock: return
        case .packet(let bytes, _): trial?.answer = try? JSONDecoder().decode(TrialAnswer.self, from: Data(bytes))
        case .closed, nil: break
        }
        unwatch(answering.socket.descriptor, answering.token)
        trial?.answering = nil
    }

    /// The end of what it writes is of use where it does not answer: the linker's words, for instance.
    func readTrialOutput() {
        guard let output = trial?.output else { return }
        let bytes = PipeIO.readAvailable(output.descriptor, limit: 65_536)
        let text = (trial?.text ?? []) + bytes
        trial?.text = text.suffix(Trial.outputLimit)
        guard bytes.isEmpty else { return }
        // It was called for a reason, so this is the end.
        unwatch(output.descriptor, output.token)
        trial?.output = nil
    }

    func trialExited() {
        guard let process = trial?.process else { return }
        let exit: ChildExit
        do throws(SystemError) {
            guard let processExit = try process.exit() else { return }
            exit = ChildExit(processExit)
        } catch {
            exit = .code(255)
        }
        trialStatusChanged()
        trialAnswered()
        readTrialOutput()
        guard let trial else { return }
        unwatch(trial.process.descriptor, trial.exitToken)
        for case let (descriptor, token)? in [trial.status, trial.output] { unwatch(descriptor, token) }
        if let answering = trial.answering { unwatch(answering.socket.descriptor, answering.token) }
        knownProcesses.remove(trial.pid)
        self.trial = nil
        var report = TrialReport(path: trial.image.path)
        if let answer = trial.answer, answer.nonce == trial.nonce {
            report.version = answer.version
            report.failure = answer.failure
        } else {
            report.failure = trial.obstacle(exit)
        }
        if report.failure == nil, exit != .code(0) { report.failure = "in its trial it \(exit.words)" }
        if report.failure == nil { nextImage = trial.image }
        tell(.trialEnded(report))
        if core.upgrade?.isLeaving != true { nextImage = nil }
    }
}

extension Trial {
    /// Why there is no answer.
    fileprivate func obstacle(_ exit: ChildExit) -> String {
        if let failure { return "cannot execute it: \(errorMessage(failure.code))" }
        let lines = String(decoding: text, as: UTF8.self).split { $0.isNewline }
        let said = lines.last.map { ": \($0.prefix(300))" } ?? ""
        return "it is no supd that can take over: it \(exit.words)\(said)"
    }
}
