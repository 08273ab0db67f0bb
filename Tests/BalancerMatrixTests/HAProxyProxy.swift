import Glibc
import Platform
import TestSupport

/// HAProxy with what comes closest to the defaults of supd.
final class HAProxyProxy: Proxy {
    let port: UInt16
    private let process: ChildProcess
    private let directory: TemporaryDirectory

    var pid: Int32 { process.pid }

    init(_ wish: Wish, _ servers: [Server]) throws {
        directory = try TemporaryDirectory()
        let limit = wish.connectionsPerServer.map { " maxconn \($0)" } ?? ""
        let lines = servers.enumerated().map { number, server in
            "    server s\(number + 1) 127.0.0.1:\(server.port)\(limit)"
        }
        let configuration = try directory.write(
            "haproxy.cfg",
            """
            global
                nbthread \(wish.threads)
            \(wish.descriptors.map { "    maxconn \($0 / 4)" } ?? "")

            defaults
                mode tcp
                balance roundrobin
                timeout connect \(wish.connectTimeout)s
                timeout client 1h
                timeout server 1h
                timeout client-fin 30s
                timeout server-fin 30s
                timeout queue \(wish.queueTimeout)s
                retries \(wish.retries)
                option redispatch 1

            listen front
                # The listening socket is the test's, as it is the keeper's with supd.
                bind fd@3 tfo
            \(lines.joined(separator: "\n"))

            """)
        let front = try listen(on: .ipv4("127.0.0.1", port: 0))
        port = try SocketAddress.local(of: front).port ?? 0
        let program = ["/usr/sbin/haproxy", "/usr/local/sbin/haproxy", "/usr/bin/haproxy"].first {
            (try? Files.status($0)) != nil
        }
        guard let program else { throw TestFailure("there is no haproxy: apt-get install haproxy") }
        process = try ChildProcess(
            program, ["haproxy", "-db", "-f", configuration], environment: ["PATH=/usr/bin:/bin"],
            descriptors: [front], limit: wish.descriptors)
        // Its threads begin when it has read its configuration.
        try eventually("haproxy has started; it said: \(process.output)") {
            if try process.exit() != nil { throw TestFailure("haproxy has ended: \(process.output)") }
            let threads = try? Files.names(in: "/proc/\(pid)/task", limit: 10).filter { !$0.hasPrefix(".") }
            return threads?.count == wish.threads ? true : nil
        }
    }

    func serve(_ servers: [Server]) throws { throw TestFailure("HAProxy reads its configuration once") }

    func counts() throws -> ProxyCounts? { nil }

    func end() throws {
        process.signal(SIGKILL)
        try process.waitForEnd()
    }
}
