import ControlAPI
import Dispatch
import Events
import Links
import Manifest
import Platform
import Supervision

/// The web role: what it is told, and what it is given. It has no rights: a socket that it serves, and connections to the
/// control API on which `ControlRight.page` holds.
extension SupervisorRole {
    // MARK: By the manifest

    /// Opens the page's address, or takes the sockets that the keeper holds.
    func openWeb(of manifest: Manifest, held: [String: Descriptor]) throws(Front.Failure) {
        web.settings = manifest.supd.web
        guard let settings = manifest.supd.web else { return web.front = nil }
        let front = try Front.open(ListenSettings(settings.listen), held: held, namePrefix: Held.webPrefix)
        for socket in front.sockets where socket.isNew {
            keeper?.send(.hold(name: Held.webPrefix + socket.id), [socket.descriptor])
        }
        web.front = front
    }

    /// Has the keeper start the role, if there is to be a page.
    func beginWeb(for manifest: Manifest) {
        readWebToken()
        guard web.front != nil else { return }
        let balancer = BalancerUser.credentials(for: manifest.supd.balancer.user, log: log)
        web.credentials = BalancerUser.webCredentials(besides: balancer)
        keeper?.send(.startWeb(web.credentials))
    }

    /// Brings the page into line with a manifest; what it listens on was opened ahead.
    func bringWebIntoLine(with manifest: Manifest) {
        let known = web.heldSockets
        do throws(Front.Failure) {
            try openWeb(
                of: manifest,
                held: known.merging(openedAhead.filter { $0.key.hasPrefix(Held.webPrefix) }) { first, _ in first })
        } catch {
            log.write(.error, "supd.web: \(error.text)")
            web.front = nil
        }
        let now = web.heldSockets
        for (name, descriptor) in now where known[name] == nil { keeper?.send(.hold(name: name), [descriptor]) }
        for name in known.keys where now[name] == nil { keeper?.send(.drop(name: name)) }
        guard web.front != nil else {
            if !known.isEmpty || web.pid != nil { keeper?.send(.stopWeb) }
            return
        }
        let before = web.token
        if known.isEmpty { beginWeb(for: manifest) } else { readWebToken() }
        if web.isReady { tellWeb(known: Set(known.keys.map { String($0.dropFirst(Held.webPrefix.count)) })) }
        if web.token != before { control?.cutAdopted() }
    }

    /// At an apply: the token's file may have another text under the same name, which is no change of the manifest.
    func readWebTokenAgain() {
        guard web.settings?.actions != nil else { return }
        let before = web.token
        readWebToken()
        guard web.token != before else { return }
        // Connections have the right that they were given; the role asks for others.
        control?.cutAdopted()
        if web.isReady { tellWeb(known: Set((web.front?.sockets ?? []).map(\.id))) }
    }

    private func readWebToken() {
        web.token = nil
        guard let path = web.settings?.actions else { return }
        do throws(WebTokenFile.Failure) {
            web.token = try WebTokenFile.read(path)
        } catch {
            log.write(.error, "supd.web: the page can only show, not act: \(error.text); then say \"supctl apply\"")
        }
    }

    // MARK: The role

    /// A web role runs, be it new or the one that a former supervisor spoke to.
    func webStarted(_ pid: Int32, _ descriptor: Descriptor?) {
        guard let descriptor else { return }
        web.link?.close()
        web.pid = pid
        web.isReady = false
        let link = DispatchLink<WebRequest, WebNotice>(
            LinkConnection(descriptor), queue: queue,
            onReadable: { [weak self] in self?.assumeIsolated { $0.webIsReadable() } },
            onWritable: { [weak self] in self?.assumeIsolated { $0.web.link?.flush() } },
            problem: { [log] in log.write(.error, "cannot tell the web role: \($0)") })
        web.link = link
        link.send(.hello(version: linkVersion))
    }

    /// The keeper starts another one, if it is still wanted.
    func webExited(_ exit: ChildExit) {
        happened(.role(.init(role: "web", step: "ended", reason: ExitStatus(exit).words)))
        keepEvents()
        web.link?.close()
        web.link = nil
        web.pid = nil
        web.isReady = false
        control?.cutAdopted()
    }

    /// So many messages in a turn, as of the balancer.
    private static let webMessagesInATurn = 16

    private func webIsReadable() {
        for _ in 0..<Self.webMessagesInATurn {
            guard let link = web.link else { return }
            switch link.receive() {
            case .message(let notice, _): received(notice)
            case .wouldBlock: return
            case .closed: return link.close()
            case .malformed(let reason): return replaceWeb(reason.description)
            }
        }
    }

    /// It says what it never should, or cannot be understood.
    private func replaceWeb(_ reason: String) {
        log.write(.error, "the web role is replaced: \(reason)")
        web.link?.close()
        web.link = nil
        web.isReady = false
        if let pid = web.pid { keeper?.send(.replaceWeb(pid: pid)) }
    }

    private func received(_ notice: WebNotice) {
        switch notice {
        case .hello(let version, let listeners):
            guard version == linkVersion else {
                return replaceWeb("it speaks version \(version), this supervisor \(linkVersion)")
            }
            web.isReady = true
            tellWeb(known: Set(listeners.prefix(8)))
        case .connect(let number): web.link?.send(.connection(number: number), connectionForWeb())
        case .log(let level, let text):
            log.write(level <= 3 ? .error : level <= 4 ? .warning : .info, "web: \(text.prefix(500))")
        }
    }

    private func tellWeb(known: Set<String>) {
        guard let serving = web.serving, let front = web.front else { return }
        for socket in front.sockets where !known.contains(socket.id) {
            web.link?.send(.listener(id: socket.id), [socket.descriptor])
        }
        web.link?.send(.serve(serving))
    }

    /// One end of a connection whose other end the control server has; none if it cannot be.
    private func connectionForWeb() -> [Descriptor] {
        guard let control, let pid = web.pid, let (ours, theirs) = try? UnixStream.pair() else { return [] }
        let peer = PeerCredentials(
            processID: pid, userID: web.credentials?.user ?? Accounts.ownUser,
            groupID: web.credentials?.group ?? Accounts.ownUser, role: "the dashboard")
        return control.adopt(ours, peer: peer, right: .page(token: web.token)) ? [theirs.descriptor] : []
    }
}
