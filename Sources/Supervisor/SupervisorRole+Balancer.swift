import Dispatch
import FoundationEssentials
import Links
import Manifest
import Platform
import Supervision

/// What the balancer is told, and what it says.
extension SupervisorRole {
    /// Asks the keeper for a balancer, if any service has a front.
    func startBalancer(for manifest: Manifest) {
        guard !balancer.fronts.isEmpty else { return }
        keeper?.send(.startBalancer(BalancerUser.credentials(for: manifest.supd.balancer.user, log: log)))
    }

    /// A balancer runs, be it new or the one that a former supervisor spoke to.
    func balancerStarted(_ pid: Int32, _ descriptor: Descriptor?) {
        guard let descriptor else { return }
        noteBalancer(started: pid)
        balancer.link?.close()
        balancer.pid = pid
        balancer.isReady = false
        balancer.isServing = false
        let link = DispatchLink<BalancerRequest, BalancerNotice>(
            LinkConnection(descriptor), queue: queue,
            onReadable: { [weak self] in self?.assumeIsolated { $0.balancerIsReadable() } },
            onWritable: { [weak self] in self?.assumeIsolated { $0.balancer.link?.flush() } },
            problem: { [log] in log.write(.error, "cannot tell the balancer: \($0)") })
        balancer.link = link
        link.send(.hello(version: linkVersion))
    }

    /// With the balancer all connections are gone; the keeper starts another one.
    func balancerExited() {
        // How it ended the keeper has said.
        log.write(.notice, "connections through the balancer are cut; the next one takes over its listeners")
        balancer.link?.close()
        balancer.link = nil
        balancer.pid = nil
        balancer.isReady = false
        balancer.isServing = false
        tableIsInForce()
        giveUpCounters()
        let drained = balancer.draining
        balancer.draining = []
        for endpoint in drained { take(.drained(Generation(endpoint))) }
    }

    /// So many messages in a turn: a balancer that floods does not keep the supervisor from answering the keeper. What is
    /// left makes the source fire again.
    private static let messagesInATurn = 64

    func balancerIsReadable() {
        for _ in 0..<Self.messagesInATurn {
            guard let link = balancer.link else { return }
            switch link.receive() {
            case .message(let notice, _): received(notice)
            case .wouldBlock: return
            case .closed: return link.close()
            case .malformed(.system(let error)):
                log.write(.error, "cannot hear the balancer (\(error)): starting anew")
                exitProcess(1)
            case .malformed(let reason): replaceBalancer(reason.description)
            }
        }
    }

    /// The balancer, which has no rights and reads what strangers send, says what it never should, or cannot be understood:
    /// the supervisor goes on without it until the keeper has started the next one, which waits longer and longer if that
    /// goes on.
    private func replaceBalancer(_ reason: String) {
        log.write(.error, "the balancer is replaced: \(reason)")
        balancer.link?.close()
        balancer.link = nil
        balancer.isReady = false
        if let pid = balancer.pid { keeper?.send(.replaceBalancer(pid: pid)) }
    }

    private func received(_ notice: BalancerNotice) {
        switch notice {
        case .hello(let version, let listeners, let revision):
            // Of another image, after an upgrade: the keeper starts the next one from its own, as it did this supervisor.
            guard version == linkVersion else {
                return replaceBalancer("it speaks version \(version), this supervisor \(linkVersion)")
            }
            guard revision <= BalancerClient.highestRevision else {
                return replaceBalancer("it has a table of revision \(revision), which nobody ever sent")
            }
            balancer.revision = max(balancer.revision, revision)
            balancer.applied = revision
            let known = Set(listeners)
            for front in balancer.fronts.values.flatMap({ $0 }) {
                for socket in front.sockets where !known.contains(socket.id) {
                    balancer.link?.send(.listener(id: socket.id), [socket.descriptor])
                }
            }
            // Again to a balancer that has them already: it takes the same pipe in place of the same pipe.
            for (service, log) in balancer.sessionLogs {
                balancer.link?.send(.sessionLog(service: service), [log.writing])
            }
            balancer.isReady = true
            sendRoutes()
            for query in balancer.waitingForCounters.keys.sorted() { balancer.link?.send(.queryCounters(query: query)) }
        case .applied(let revision):
            balancer.applied = max(balancer.applied, revision)
            guard balancer.applied == balancer.revision else { break }
            balancerServes()
            if balancer.mayBeBehind, !balancer.routesAreStale { tableIsInForce() }
        case .waiting(let service): connectionWaited(for: service)
        case .drained(let endpoint):
            balancer.draining.remove(endpoint)
            take(.drained(Generation(endpoint)))
        case .counters(let query, let counters):
            balancer.waitingForCounters.removeValue(forKey: query)?.completion(counters)
        case .log(let level, let text):
            log.write(level <= 3 ? .error : level <= 4 ? .warning : .info, "balancer: \(text)")
        }
    }

    /// Hands the routes to the balancer, if it is there to take them.
    func sendRoutes() {
        guard balancer.isReady, let application else { return }
        let loops =
            application.manifest.supd.balancer.loops ?? min(4, max(1, ProcessInfo.processInfo.activeProcessorCount))
        let table = balancer.table(application.routes, service: { application.service(named: $0) }, loops: loops)
        balancer.link?.send(.table(table))
    }

    /// Asks for the counters; nil if there is no balancer, or no answer within 300 ms. `isPatient`: who asks for nothing else
    /// waits five seconds, also for a balancer that has just been started.
    func queryCounters(isPatient: Bool = false, _ completion: @escaping @Sendable (BalancerCounters?) -> Void) {
        guard balancer.isReady || isPatient, balancer.waitingForCounters.count < 1000 else { return completion(nil) }
        balancer.lastQuery += 1
        let query = balancer.lastQuery
        balancer.waitingForCounters[query] = CounterQuery(isPatient: isPatient, completion: completion)
        if balancer.isReady { balancer.link?.send(.queryCounters(query: query)) }
        queue.asyncAfter(deadline: .now() + (isPatient ? .seconds(5) : .milliseconds(300))) { [weak self] in
            self?.assumeIsolated { $0.balancer.waitingForCounters.removeValue(forKey: query)?.completion(nil) }
        }
    }

    private func giveUpCounters() {
        for (query, waiting) in balancer.waitingForCounters where !waiting.isPatient {
            balancer.waitingForCounters[query] = nil
            waiting.completion(nil)
        }
    }
}
