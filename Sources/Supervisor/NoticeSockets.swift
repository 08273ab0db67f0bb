import Dispatch
import Platform
import Supervision

/// The sockets on which services say how they are (NOTIFY_SOCKET): one for every process that has one, so that a notice is
/// its instance's even when its sender, a short-lived systemd-notify, is gone before it is read. Lives on one serial queue.
///
/// A datagram is taken off its queue after it was dealt with: a supervisor that is lost in between leaves it to the next
/// one, which has the same socket from the keeper. Saying something twice does no harm.
final class NoticeSockets {
    /// So many datagrams of one socket are read …
    static let burst = 64
    /// … in so many nanoseconds: a flood costs its sender the time, and nobody else.
    static let window: Int64 = 100_000_000

    /// Whose processes may speak for a socket.
    struct Owner {
        /// The instance's processes.
        var instance: InstanceProcesses.Instance
        /// The keeper, whose child the leader is.
        var keeper: Int32
    }

    private final class Entry {
        let socket: NoticeSocket
        var owner: Owner?
        var source: (any DispatchSourceRead)?
        /// While it is not read.
        var pause: (any DispatchSourceTimer)?
        /// When the present window began, and what was read in it.
        var windowBegan: Int64 = 0
        var taken = 0
        /// The last sender that was none of the instance's processes: looking again would cost as much every time.
        var stranger: (pid: Int32, startTicks: UInt64)?
        var ignored: UInt64 = 0
        var hasSaid: Set<Remark> = []

        init(_ socket: NoticeSocket) { self.socket = socket }
    }

    /// What is said once of every process.
    private enum Remark { case flood, tooLong, mainProcess }

    private let directory: String
    private let queue: DispatchQueue
    private let report: (Generation, ServiceNotice) -> Void
    private let note: (InstanceID, String) -> Void
    private var entries: [Generation: Entry] = [:]
    private var isDirectoryMade = false

    /// Creates an empty set.
    /// - Parameters:
    ///   - directory: where the sockets are.
    ///   - report: gets every notice that counts.
    ///   - note: gets lines for supd's log.
    init(
        directory: String, queue: DispatchQueue, report: @escaping (Generation, ServiceNotice) -> Void,
        note: @escaping (InstanceID, String) -> Void
    ) {
        self.directory = directory
        self.queue = queue
        self.report = report
        self.note = note
    }

    deinit { for entry in entries.values { end(entry) } }

    /// The name under which the keeper holds a generation's socket.
    static func heldName(_ generation: Generation) -> String { "notify \(generation)" }

    /// The generation of a held name; nil if it is the name of something else.
    static func generation(ofHeld name: String) -> Generation? {
        name.hasPrefix("notify ") ? UInt64(name.dropFirst(7)).map(Generation.init) : nil
    }

    /// The value of NOTIFY_SOCKET: short, whatever the instance is called.
    static func path(in directory: String, _ generation: Generation) -> String { "\(directory)/\(generation)" }

    /// Opens the socket of a process that is about to be started. `user` is who it runs as, nil: as supd itself. A process of
    /// root may become somebody else by itself, so that anybody may send to it; who counts is told by the senders' pids.
    func open(
        _ generation: Generation, user: (user: UInt32, group: UInt32)?, isRoot: Bool
    ) throws(SystemError) -> Descriptor {
        if !isDirectoryMade { try NoticeSocket.makeDirectory(directory) }
        isDirectoryMade = true
        let socket = try NoticeSocket(
            path: Self.path(in: directory, generation), owner: user, isOpen: isRoot && (user?.user ?? 0) == 0)
        entries[generation] = Entry(socket)
        return socket.descriptor
    }

    /// Takes over the socket of a process that a supervisor before has started.
    func adopt(_ generation: Generation, _ descriptor: Descriptor) {
        isDirectoryMade = true
        entries[generation] = Entry(NoticeSocket(descriptor))
    }

    /// The process is there: reads what it says from now on, and what it has said already.
    func begin(_ generation: Generation, _ owner: Owner) {
        guard let entry = entries[generation], entry.owner == nil else { return }
        entry.owner = owner
        let source = DispatchSource.makeReadSource(fileDescriptor: entry.socket.descriptor.raw, queue: queue)
        source.setEventHandler { [weak self] in self?.readInWindow(generation) }
        source.setCancelHandler { [socket = entry.socket] in withExtendedLifetime(socket) {} }
        entry.source = source
        source.activate()
    }

    /// Nothing of the process is left. Returns whether it had a socket.
    func close(_ generation: Generation) -> Bool {
        guard let entry = entries.removeValue(forKey: generation) else { return false }
        end(entry)
        NoticeSocket.remove(path: Self.path(in: directory, generation))
        return true
    }

    private func end(_ entry: Entry) {
        // A source that is suspended may not be let go of.
        if let pause = entry.pause {
            pause.cancel()
            entry.pause = nil
            entry.source?.resume()
        }
        entry.source?.cancel()
        entry.source = nil
    }

    // MARK: Reading

    /// Takes what waits now, at most a burst: before a silence is taken for one, and before an exit is told.
    func read(_ generation: Generation) {
        for _ in 0..<Self.burst where !takeOne(generation) { return }
    }

    /// The socket has something.
    private func readInWindow(_ generation: Generation) {
        while let entry = entries[generation] {
            let now = monotonicNanoseconds()
            if now - entry.windowBegan >= Self.window {
                entry.windowBegan = now
                entry.taken = 0
            }
            guard entry.taken < Self.burst else { return pause(entry, until: entry.windowBegan + Self.window, now) }
            entry.taken += 1
            guard takeOne(generation) else { return }
        }
    }

    /// Takes one datagram; false: there is none, or nobody is to read it.
    private func takeOne(_ generation: Generation) -> Bool {
        guard let entry = entries[generation], let owner = entry.owner,
            let datagram = entry.socket.peek(limit: ServiceNotice.sizeLimit)
        else { return false }
        // It may end the process, and with it the entry.
        take(datagram, generation, entry, owner)
        entry.socket.drop()
        return true
    }

    private func pause(_ entry: Entry, until end: Int64, _ now: Int64) {
        guard entry.pause == nil, let source = entry.source else { return }
        say(
            .flood,
            "more comes by its NOTIFY_SOCKET than supd reads, \(Self.burst) notices in a tenth of a second: the rest waits",
            entry)
        source.suspend()
        let pause = DispatchSource.makeTimerSource(queue: queue)
        pause.setEventHandler { [weak entry] in
            guard let entry, entry.pause != nil else { return }
            entry.pause?.cancel()
            entry.pause = nil
            entry.source?.resume()
        }
        pause.schedule(deadline: .now() + .nanoseconds(Int(max(0, end - now))))
        entry.pause = pause
        pause.activate()
    }

    private func take(_ datagram: NoticeSocket.Datagram, _ generation: Generation, _ entry: Entry, _ owner: Owner) {
        guard isOwn(datagram, entry, owner) else { return ignore(datagram, entry, owner) }
        guard let bytes = datagram.bytes else {
            return say(.tooLong, "a notice of more than \(ServiceNotice.sizeLimit) bytes is ignored", entry)
        }
        let notice = ServiceNotice(datagram: bytes)
        if notice.namesMainProcess {
            say(.mainProcess, "MAINPID is ignored: the process that supd has started is the one that it watches", entry)
        }
        report(generation, notice)
    }

    private func say(_ remark: Remark, _ text: String, _ entry: Entry) {
        guard let owner = entry.owner, entry.hasSaid.insert(remark).inserted else { return }
        note(owner.instance.id, text)
    }

    /// Said for the first one, the tenth, the hundredth …
    private func ignore(_ datagram: NoticeSocket.Datagram, _ entry: Entry, _ owner: Owner) {
        entry.ignored &+= 1
        var rest = entry.ignored
        while rest.isMultiple(of: 10), rest > 0 { rest /= 10 }
        guard rest == 1 else { return }
        let name = ProcessTable.entry(of: datagram.processID).map { " (\($0.name))" } ?? ""
        let count = entry.ignored == 1 ? "" : "; \(entry.ignored) so far"
        note(
            owner.instance.id,
            "a notice of pid \(datagram.processID)\(name), which is none of its processes, is ignored\(count)")
    }

    // MARK: Whose it is

    /// Whether a datagram was sent by a process of the instance. One that is gone already counts if it was of the leader's
    /// user or root: nobody can tell any more, and the socket is known to the instance alone.
    private func isOwn(_ datagram: NoticeSocket.Datagram, _ entry: Entry, _ owner: Owner) -> Bool {
        let leader = owner.instance.leader
        if datagram.processID == leader { return true }
        guard datagram.processID > 0, datagram.processID != owner.keeper else { return false }
        guard let sender = ProcessTable.entry(of: datagram.processID) else {
            return datagram.userID == 0 || datagram.userID == (try? Files.status("/proc/\(leader)"))?.user
        }
        if let stranger = entry.stranger, stranger == (sender.pid, sender.startTicks) { return false }
        let isOwn = descends(sender, from: owner)
        if !isOwn { entry.stranger = (sender.pid, sender.startTicks) }
        return isOwn
    }

    private func descends(_ sender: ProcessEntry, from owner: Owner) -> Bool {
        let leader = owner.instance.leader
        var current = sender
        // Pids may change hands while one looks: the way up must have an end.
        for _ in 0..<64 {
            if current.session == leader || current.group == leader || current.parent == leader { return true }
            if current.parent == owner.keeper {
                // It has left the session, and its parent has ended.
                return ProcessTable.environmentValue(ProcessScope.variable, of: current.pid) == owner.instance.mark
            }
            guard current.parent > 1, let parent = ProcessTable.entry(of: current.parent) else { return false }
            current = parent
        }
        return false
    }
}
