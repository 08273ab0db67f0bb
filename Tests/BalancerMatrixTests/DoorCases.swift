import Glibc
import Links
import Platform
import TestSupport

/// Many clients at once, tables, and want of this and that.
extension Door {
    /// Clients that are gone before anybody has taken them.
    func openInVain(_ clients: Int, isDown: Bool) throws {
        try alone(clients) {
            let before = try proxy.counts()?.accepted ?? 0
            if isDown { for server in servers { server.stopListening() } }
            let callers = try (0..<clients).map { _ in try connect(proxy.port) }
            for caller in callers { caller.wire.reset() }
            try eventually("those that are gone are accepted") {
                try proxy.counts()?.accepted == before + clients ? true : nil
            }
            if isDown { try listenAgain() }
            try settle()
            // Some were connected before they were seen to be gone: their ends belong to nobody, and must not be taken for
            // the next one's.
            for server in servers {
                while server.hasWaiting(), let wire = try server.acceptWaiting() {
                    let mayBeIntroduced = table.proxyProtocol != nil
                    while true {
                        switch wire.receiveOnce() {
                        case .bytes where mayBeIntroduced: continue
                        case .end: break
                        case .bytes, .nothing: throw TestFailure("bytes of a client that said nothing")
                        }
                        break
                    }
                }
            }
            for caller in callers { expect(caller, ends: ["CQ", "CC", "CD"]) }
            tally.note(isDown ? .goneWhileDown : .goneEarly, clients)
        }
    }

    /// A burst of short connections, all open at the same time.
    func burst(_ clients: Int) throws {
        try alone(clients) {
            try exchange(try callers(clients), with: servers)
            tally.note(.burst)
        }
    }

    /// More clients than the servers may have: some wait in the queue, until those before them have ended.
    func crowd(_ more: Int) throws {
        try alone {
            // A place at each server beside those that are taken. They only become fewer meanwhile.
            let limit = (try proxy.counts()?.charged ?? 0) + 1
            let clients = 2 * limit + more
            try withTable(servers, { proxy.connectionsPerServer = limit }) {
                let callers = try callers(clients)
                try eventually("\(more) clients wait for a place") {
                    try proxy.counts()?.waiting ?? 0 >= more ? true : nil
                }
                try exchange(callers, with: servers, inTurn: true)
                tally.note(.queued, more)
            }
        }
    }

    /// More clients than a front may have: the others wait in the kernel's queue.
    func crowdAtFront(_ more: Int) throws {
        let port = table.port(.narrow)
        let clients = RandomTable.frontLimit + more
        try alone(clients) {
            try eventually("the front is empty") { try counts(port).current == 0 ? true : nil }
            let total = try counts(port).total
            let callers = try callers(clients, port)
            try eventually("the front is full") {
                try counts(port).current == UInt64(RandomTable.frontLimit) ? true : nil
            }
            try eventually("those are with their servers") { try proxy.counts()?.isSettled == true ? true : nil }
            guard try counts(port).total == total + UInt64(RandomTable.frontLimit) else {
                throw TestFailure("a full front has accepted somebody")
            }
            try exchange(callers, with: servers, port, inTurn: true)
            tally.note(.frontFull)
        }
    }

    /// A burst while one server takes nothing out of its full backlog: connects to it time out, and all are served.
    func burstBesideFull(_ clients: Int) throws {
        try alone(clients) {
            let (algorithm, slowStart) = (proxy.algorithm, table.slowStart)
            defer { (proxy.algorithm, table.slowStart) = (algorithm, slowStart) }
            // It has its turn.
            let change = { (self.proxy.algorithm, self.table.slowStart) = (.roundrobin, 0) }
            try withTable([full] + servers, change) {
                try exchange(try callers(clients), with: servers)
                let counters = try proxy.counters()
                let failing = counters.endpoints.first { $0.instance == "api/\(full.port)" }?.counts
                if let failing, failing.ends["sC"] ?? 0 > 0 { tally.note(.connectTimedOut) }
                if counters.endpoints.contains(where: { $0.counts.setAside > 0 }) { tally.note(.setAside) }
                tally.note(.backlogFull)
            }
        }
    }

    /// A burst while the proxy may open nothing, not even what it accepts: everybody waits, and is served afterwards. What
    /// is open goes on meanwhile.
    func burstWithoutDescriptors(_ clients: Int) throws {
        try alone(clients) {
            let accepted = try proxy.counts()?.accepted
            let number = Int32(RLIMIT_NOFILE.rawValue)
            guard let usual = try ResourceLimits.inForce(of: proxy.pid)["nofile"] else {
                throw TestFailure("process \(proxy.pid) has no limit on open files")
            }
            try ResourceLimits.set(number, of: proxy.pid, to: LimitPair(soft: 3, hard: usual.hard))
            var waiting: [Caller] = []
            do {
                defer { _ = try? ResourceLimits.set(number, of: proxy.pid, to: usual) }
                waiting = try callers(clients)
                guard try proxy.counts()?.accepted == accepted else {
                    throw TestFailure("a proxy without descriptors has accepted somebody")
                }
            }
            try exchange(waiting, with: servers)
            tally.note(.withoutDescriptors)
        }
    }

    /// A burst while one address has four ports for connections: the proxy needs others of its own. Clients have each
    /// another address.
    func burstWithoutPorts(_ clients: Int) throws {
        guard hasOwnNetwork else { return }
        try alone(clients) {
            try PrivateNetwork.set("net/ipv4/ip_local_port_range", "21000 21003")
            defer { try? PrivateNetwork.set("net/ipv4/ip_local_port_range", "32768 60999") }
            let peers = try exchange(try callers(clients, hosts: { UInt8(100 + $0 % 100) }), with: servers)
            guard peers.contains(where: { !$0.hasPrefix("127.0.0.1:") }) else {
                throw TestFailure("\(clients) connections to two servers from four ports: \(peers)")
            }
            tally.note(.withoutPorts)
        }
    }

    /// A burst while a server is drained: what is open there goes on, and nobody new comes.
    func burstBesideDrained(_ clients: Int, _ drained: Int) throws {
        try alone(clients) {
            try withTable(servers, { proxy.parked = [servers[drained].port] }) {
                let others = servers.enumerated().filter { $0.offset != drained }.map(\.element)
                try exchange(try callers(clients), with: others)
                guard !servers[drained].hasWaiting() else { throw TestFailure("a drained server was connected to") }
            }
            noteDrained(servers[drained])
        }
    }

    /// Stops the proxy for a moment: what happens meanwhile comes to it as one batch of events.
    func whileFrozen(_ body: () throws -> Void) throws {
        try alone {
            try ProcessView(pid: proxy.pid).whileStopped(body)
            tally.note(.frozen)
        }
    }

    /// What the next tables say.
    struct Change {
        var isShort: Bool
        var algorithm: RoutingTable.Pool.Algorithm
        var proxyProtocol: RoutingTable.Pool.ProxyProtocol?
        var idleTimeout: Int64?
        var slowStart: Int64
        var options: RoutingTable.SocketOptions
    }

    /// Puts another table in force: of the same servers, or without the one that refuses.
    func changeTable(_ change: Change) throws {
        try alone {
            try settle()
            proxy.algorithm = change.algorithm
            table.proxyProtocol = change.proxyProtocol
            table.idleTimeout = change.idleTimeout
            table.slowStart = change.slowStart
            table.options = change.options
            try proxy.serve(change.isShort ? [servers[0], servers[2]] : servers)
            tally.note(.table)
            try checkOptions(change.options)
            switch change.algorithm {
            case .roundrobin: tally.note(.roundrobin)
            case .leastconn: tally.note(.leastconn)
            case .random2: tally.note(.random2)
            case .source: tally.note(.source)
            }
        }
    }

    /// The options of the plain front's socket are those of the table.
    private func checkOptions(_ options: RoutingTable.SocketOptions) throws {
        let found = [
            try proxy.option(SOL_SOCKET, SO_KEEPALIVE),
            try proxy.option(Int32(IPPROTO_TCP), TCP_USER_TIMEOUT),
        ]
        guard found == [options.keepAliveSeconds == nil ? 0 : 1, Int32(options.userTimeoutMilliseconds ?? 0)] else {
            throw TestFailure("a front's options are \(found), not those of \(options)")
        }
        tally.note(options.keepAliveSeconds == nil ? .withoutKeepAlive : .keepAlive)
        if options.userTimeoutMilliseconds != nil { tally.note(.userTimeout) }
        if options.backlog < 4096 { tally.note(.smallBacklog) }
        let deferring = RandomTable.Front.deferring.rawValue
        let deferred = try proxy.option(Int32(IPPROTO_TCP), TCP_DEFER_ACCEPT, of: deferring)
        // The kernel rounds up, to a time at which it would ask again.
        let wanted = Int32(options.deferAcceptSeconds ?? 0)
        guard wanted == 0 ? deferred == 0 : deferred >= wanted else {
            throw TestFailure("a front accepts by the first bytes or after \(deferred) s, not after \(wanted)")
        }
        if wanted > 0 { tally.note(.deferAccept) }
    }

    /// Has another balancer take over, as in an upgrade: what is open goes on with the one before.
    func replace() throws {
        // Root alone sees when the one before takes nobody any more.
        guard getuid() == 0 else { return }
        try aside {
            try alone {
                tally.note(.retired, try proxy.reap())
                guard proxy.retiredCount < 2 else { return }
                try settle()
                try proxy.replace(servers)
                tally.note(.replaced)
            }
        }
    }
}
