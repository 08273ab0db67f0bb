import Platform
import TestSupport

/// How much of what has happened in a randomised run: all of it must, in a run of a minute.
final class Tally: @unchecked Sendable {
    enum Happening: String, CaseIterable {
        case session = "sessions", ipv6 = "IPv6"
        case clientFirst = "a client spoke first", serverFirst = "a server spoke first"
        case dataWithSYN = "first bytes with the SYN"
        case delayedHandshake = "first bytes with the handshake", smallWindow = "a slow reader's window"
        case bulk = "bulk", bulkBothWays = "bulk both ways at once"
        case bulkAfterClient = "bulk after a client's end", bulkAfterServer = "bulk after a server's end"
        case dribble = "byte by byte", urgent = "urgent bytes"
        case clientHalfCloses = "a client ended first", serverHalfCloses = "a server ended first"
        case orderly = "orderly ends", clientResets = "a client reset", serverResets = "a server reset"
        case clientCloses = "a client closed", serverCloses = "a server closed", bothVanish = "both vanished"
        case frozen = "many events at once"
        case allDown = "all down, then up", goneEarly = "clients gone early", goneWhileDown = "gone while all down"
        case burst = "bursts", shortConnection = "short connections"
        case silentServerLeft = "a silent server left", silentServerHeard = "a silent server heard late"
        case unixSession = "sessions at a Unix socket", unixClientCloses = "a Unix client closed"
        case serverResetsUnix = "a server reset a Unix client"
        case silentCrowd = "a silent crowd"
        case processStopped = "a server's process stopped", processKilled = "a server's process killed"
        case processKilledWhileStopped = "a stopped process killed", processFollowed = "the next process in its place"
        case table = "tables", roundrobin, leastconn, random2, source
        case keepAlive = "keepalive", withoutKeepAlive = "no keepalive", userTimeout = "a user timeout"
        case smallBacklog = "a small backlog"
        case deferAccept = "deferred accepting", deferredSession = "sessions accepted with their first bytes"
        case deferredSilence = "a silent one was not accepted"
        case queued = "queued for a place", drained = "drained", undrained = "undrained"
        case frontFull = "a front's maxConnections", setAside = "set aside"
        case backlogFull = "a full backlog", connectTimedOut = "connects timed out"
        case withoutDescriptors = "without descriptors", withoutPorts = "without ports"
        case introducedV1 = "v1 to a server", introducedV2 = "v2 to a server"
        case introducedNobody = "UNKNOWN or LOCAL to a server"
        case headerV1 = "v1 accepted", headerV2 = "v2 accepted", headerOfNobody = "UNKNOWN or LOCAL accepted"
        case headerInvalid = "an invalid header", headerMissing = "no header", headerLate = "a header that never came"
        case notAllowed = "not in allow", tooManyOfOne = "maxConnectionsPerAddress"
        case idleTimeout, finTimeoutAfterClient = "finTimeout after the client"
        case finTimeoutAfterServer = "finTimeout after the server"
        case drainTimeout, queueTimeout, maxQueue
        case replaced = "another balancer took over", retired = "a retired one has ended"
    }

    /// What needs root: a network of its own, and a look at which sockets a process has.
    private static let ofRoot: [Happening] = [.withoutPorts, .dataWithSYN, .replaced, .retired]
    /// End states that cannot be missing from the lines of a minute.
    private static let usualEnds = ["--", "CD", "CG", "CQ", "DD", "PG", "PQ", "SD", "cD", "cG", "cL", "sD", "sQ"]

    private let counts = Lock<[Happening: Int]>([:])
    private let ends = Lock<[String: Int]>([:])

    func note(_ happening: Happening, _ count: Int = 1) { counts.withLock { $0[happening, default: 0] += count } }

    /// A session's line says that it has ended so.
    func note(end: String) { ends.withLock { $0[end, default: 0] += 1 } }

    /// All of it as text.
    var text: String {
        let counts = counts.withLock { $0 }
        let ends = ends.withLock { $0 }
        let happenings = Happening.allCases.map { "\($0.rawValue) \(counts[$0] ?? 0)" }
        let states = ends.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }
        return happenings.joined(separator: ", ") + "; lines by end: " + states.joined(separator: ", ")
    }

    /// What has never happened.
    func missing(isRoot: Bool) -> [String] {
        let counts = counts.withLock { $0 }
        let ends = ends.withLock { $0 }
        let happenings = Happening.allCases.filter {
            (counts[$0] ?? 0) == 0 && (isRoot || !Self.ofRoot.contains($0)) && (hasIPv6 || $0 != .ipv6)
        }
        return happenings.map(\.rawValue) + Self.usualEnds.filter { ends[$0] == nil }.map { "end=\($0)" }
    }
}
