import Platform
import Supervision

/// Tells whether the listener on a port is an instance's own: a stranger there must not pass for it.
struct ListenerOwner {
    /// What was found.
    enum Finding: Hashable {
        /// One of the instance's processes holds it.
        case own
        /// None of them does; who does, for people.
        case stranger(String)
        /// Nothing listens there (any more).
        case nobody
        /// It cannot be told: the kernel shows no sockets, or not the processes' descriptors.
        case unknown
    }

    /// How long a pass over /proc serves others too. With many instances starting at once one each would be too much.
    private static let tableAge: Int64 = 50_000_000

    private var processes: InstanceProcesses
    private var table: [ProcessEntry] = []
    private var tableTime: Int64?
    /// Strangers found, by the sockets that serve the port: naming one takes a look at every descriptor of the machine.
    private var strangers: [Set<UInt64>: String] = [:]

    /// Creates a finder for children of this keeper.
    init(keeper: Int32) { processes = InstanceProcesses(keeper: keeper) }

    /// Looks who listens on 127.0.0.1 at a port.
    mutating func find(port: UInt16, instance: InstanceProcesses.Instance) -> Finding {
        guard let listeners = try? SocketDiagnostics.listeners(onPort: port) else { return .unknown }
        let inodes = Self.serving(listeners)
        guard !inodes.isEmpty else { return .nobody }
        var isSure = true
        /// Whether it is one of these processes.
        func isHeld(by pids: some Sequence<Int32>) -> Bool {
            for pid in pids {
                switch ProcessTable.search(pid, forSockets: inodes) {
                case .found: return true
                case .absent: continue
                case .unknown: isSure = false
                }
            }
            return false
        }
        // Nearly always the leader or a child of it; both are cheap to ask.
        if isHeld(by: [instance.leader]) { return .own }
        if isHeld(by: ProcessTable.children(of: instance.leader) ?? []) { return .own }
        let now = monotonicNanoseconds()
        if tableTime.map({ now - $0 > Self.tableAge }) ?? true {
            table = (try? ProcessTable.all()) ?? []
            tableTime = now
        }
        let members = processes.members(of: [instance], in: table)[instance.generation] ?? []
        if isHeld(by: members.map(\.pid)) { return .own }
        guard isSure else { return .unknown }
        if let known = strangers[inodes] { return .stranger(known) }
        if strangers.count >= 64 { strangers.removeAll() }
        let stranger = PortCheck.description(ofSocketsOn: port)
        strangers[inodes] = stranger
        return .stranger(stranger)
    }

    /// The sockets that a connection to 127.0.0.1 reaches: the kernel prefers the more exact address.
    private static func serving(_ listeners: [TCPSocket]) -> Set<UInt64> {
        for address in [TCPSocket.Address.loopbackIPv4, .anyIPv4, .anyIPv6] {
            let matching = listeners.filter { $0.address == address }
            if !matching.isEmpty { return Set(matching.map(\.inode)) }
        }
        return []
    }
}
