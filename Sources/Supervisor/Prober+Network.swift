import Dispatch
import Platform
import Supervision

/// Probes by tcp and http.
extension Prober {
    func connect(_ probe: Probe) {
        let port = probe.target.port
        let timeout = probe.timeout ?? .seconds(1)
        let attempt = Attempt(
            timeout: timeout, timeoutText: "no answer to a connect to port \(port) within \(Self.text(timeout))")
        probe.attempt = attempt
        do {
            let connection = try LoopbackConnection(port: port)
            attempt.connection = connection
            try goOnConnecting(probe, attempt, connection)
        } catch {
            finish(probe, attempt, Self.result(error, probe))
        }
    }

    /// On loopback the answer is there at once, unless the listener's queue is full.
    private func goOnConnecting(_ probe: Probe, _ attempt: Attempt, _ connection: LoopbackConnection)
        throws(SystemError)
    {
        switch try connection.progress() {
        case .connected:
            attempt.watch(nil)
            try connected(probe, attempt, connection)
        case .connectedToItself:
            finish(probe, attempt, .nobodyListens("nothing listens on port \(probe.target.port)"))
        case .pending:
            guard attempt.source == nil else { return }
            let source = DispatchSource.makeWriteSource(fileDescriptor: connection.descriptor.raw, queue: queue)
            watch(source, probe, attempt, connection) { prober throws(SystemError) in
                try prober.goOnConnecting(probe, attempt, connection)
            }
        }
    }

    private func connected(_ probe: Probe, _ attempt: Attempt, _ connection: LoopbackConnection) throws(SystemError) {
        let port = probe.target.port
        switch owner.find(port: port, instance: probe.target.instance) {
        case .own: break
        case .unknown:
            if !hasNotedUnknownOwner {
                hasNotedUnknownOwner = true
                note(
                    "cannot see which process listens on port \(port): readiness probes will accept any listener where "
                        + "this is so; run supd as root to have it checked")
            }
        case .nobody:
            // Gone again since, or of a kind that a look at the tables does not show: the next try will tell.
            return finish(probe, attempt, .failed("nothing listens on port \(port)"))
        case .stranger(let holder):
            return finish(probe, attempt, .failed("port \(port) is held by \(holder), which is not of this instance"))
        }
        guard let http = probe.http else {
            return finish(probe, attempt, .passed("port \(port) accepts connections"))
        }
        guard let request = http.request else {
            return finish(probe, attempt, .failed("'\(http.path)' is no path that a GET could ask for"))
        }
        let timeout = probe.timeout ?? .seconds(5)
        attempt.goOn(
            for: probe.isForHealth ? nil : timeout,
            timeoutText: "GET \(http.path): no answer within \(Self.text(timeout))")
        if !probe.isForHealth { armTimer() }
        try connection.send(ProbeGreeting.bytes(probe.target.proxyProtocol) + request)
        attempt.isAsked = true
        let source = DispatchSource.makeReadSource(fileDescriptor: connection.descriptor.raw, queue: queue)
        watch(source, probe, attempt, connection) { prober throws(SystemError) in
            try prober.readAnswer(probe, attempt, connection, http)
        }
    }

    private func readAnswer(
        _ probe: Probe, _ attempt: Attempt, _ connection: LoopbackConnection, _ http: HTTPProbe
    ) throws(SystemError) {
        while true {
            switch try connection.receive() {
            case .nothing: return
            case .end: attempt.answer.end()
            case .bytes(let bytes): attempt.answer.receive(bytes)
            }
            if let result = http.judge(attempt.answer, wantsOutput: probe.isForHealth) {
                if !attempt.answer.isMalformed, attempt.answer.status != nil { linger(connection) }
                return finish(probe, attempt, result)
            }
        }
    }

    /// Goes on with a try as far as that is possible without waiting; it may be over afterwards.
    func takeWhatHasCome(_ probe: Probe, _ attempt: Attempt) {
        guard let connection = attempt.connection, probe.attempt === attempt else { return }
        do throws(SystemError) {
            if let http = probe.http, attempt.isAsked {
                try readAnswer(probe, attempt, connection, http)
            } else if case .pending = try connection.progress() {
                return
            } else {
                try goOnConnecting(probe, attempt, connection)
            }
        } catch {
            finish(probe, attempt, Self.result(error, probe))
        }
    }

    /// What a try comes to whose time is over: an answer that has begun is judged by what there is of it.
    func timedOut(_ probe: Probe, _ attempt: Attempt) -> ProbeResult {
        guard let http = probe.http, attempt.answer.status != nil else { return .failed(attempt.timeoutText) }
        attempt.answer.end()
        return http.judge(attempt.answer, wantsOutput: probe.isForHealth) ?? .failed(attempt.timeoutText)
    }

    /// Waits on a connection for the attempt's next step.
    private func watch(
        _ source: any DispatchSourceProtocol, _ probe: Probe, _ attempt: Attempt, _ connection: LoopbackConnection,
        _ step: @escaping (Prober) throws(SystemError) -> Void
    ) {
        source.setEventHandler { [weak self, weak attempt] in
            guard let self, let attempt, probe.attempt === attempt else { return }
            do throws(SystemError) {
                try step(self)
            } catch {
                self.finish(probe, attempt, Self.result(error, probe))
            }
        }
        // Keeps the descriptor open until Dispatch has let go of it.
        source.setCancelHandler { _ = connection }
        attempt.watch(source)
        source.activate()
    }

    /// Closing with unread bytes would reset the connection, and some servers log that: reads the rest of the answer.
    private func linger(_ connection: LoopbackConnection) {
        guard lingering.count < Self.concurrencyLimit else { return }
        let rest = LingeringConnection(connection, queue: queue)
        rest.ended = { [weak self, unowned rest] in self?.lingering.removeAll { $0 === rest } }
        lingering.append(rest)
    }

    /// What helps, and when to say it, the core knows: Supervision/Advice.swift.
    private static func result(_ error: SystemError, _ probe: Probe) -> ProbeResult {
        let port = probe.target.port
        guard error.code == ErrorCode.connectionRefused else {
            return .failed("cannot connect to port \(port): \(error.call): \(error.reason)")
        }
        return .nobodyListens("connection refused on port \(port)")
    }
}
