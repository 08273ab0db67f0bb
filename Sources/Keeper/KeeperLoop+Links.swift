import Links
import Platform

/// A message that waits to be sent.
struct Outgoing {
    var notice: KeeperNotice
    var keys: [DescriptorKey]
}

/// The keeper's end of its link to a role.
struct Link {
    /// So many waiting messages, and the role is not listened to until half of them are sent: it asks for more than it
    /// takes. The core's own tables bound all that is sent unasked.
    static let queueLimit = 8192
    /// So many messages are taken in one turn of the loop.
    static let turnLimit = 64

    let connection: LinkConnection
    let token: UInt64
    var queue: [Outgoing] = []
    /// What the poll set waits for.
    var awaitsReading = true
    var awaitsWriting = false
}

extension KeeperLoop {
    func openLink(_ role: Role, _ connection: LinkConnection) throws(SystemError) {
        links[role] = Link(connection: connection, token: try watch(connection.descriptor, .link(role)))
    }

    func closeLink(_ role: Role) {
        guard let link = links.removeValue(forKey: role) else { return }
        unwatch(link.connection.descriptor, link.token)
    }

    /// Handles what a role has said; `isLast`: it has ended, so that all that is left can be taken at once.
    func receive(from role: Role, isLast: Bool = false) {
        var taken = 0
        while isLast || taken < Link.turnLimit {
            taken += 1
            // Handling a message can close the link, or fill its queue.
            guard let link = links[role], link.awaitsReading || isLast else { return }
            // They say hello and pong: nothing of them may cost this one thread more than a moment.
            switch link.connection.receive(KeeperRequest.self, isBrief: role.isUnprivileged) {
            case .message(let request, let descriptors):
                received = descriptors
                tell(.received(role, request, descriptors: descriptors.count))
                received = []
            case .wouldBlock: return
            case .closed: tell(.linkBroken(role, reason: nil))
            case .malformed(let error): tell(.linkBroken(role, reason: error.description))
            }
        }
    }

    /// Keeps the descriptor that came beside the message being handled.
    func hold(_ name: String) {
        guard let descriptor = received.first, descriptor.raw < holdingLimit else {
            held[name] = nil
            DaemonLog.error("cannot hold \(name): too many open files; raise the limit of open files of supd")
            return
        }
        held[name] = descriptor
    }

    /// Sends what there is room for.
    func flushLinks() {
        for role in Role.allCases { flush(role) }
    }

    private func flush(_ role: Role) {
        guard var link = links[role], !link.queue.isEmpty || link.awaitsWriting || !link.awaitsReading else { return }
        var sent = 0
        var isBlocked = false
        sending: for outgoing in link.queue {
            let descriptors = outgoing.keys.flatMap { self.descriptors(for: $0) }
            if case .held = outgoing.notice, descriptors.isEmpty {
                // Dropped meanwhile.
                sent += 1
                continue
            }
            do throws(LinkError) {
                switch try link.connection.send(outgoing.notice, descriptors: descriptors) {
                case .sent: sent += 1
                case .wouldBlock:
                    isBlocked = true
                    break sending
                case .closed:
                    // What is left to read is still read; the end comes after it.
                    sent = link.queue.count
                    break sending
                }
            } catch {
                tell(.linkBroken(role, reason: error.description))
                return
            }
        }
        link.queue.removeFirst(sent)
        let awaitsReading = link.queue.count <= (link.awaitsReading ? Link.queueLimit : Link.queueLimit / 2)
        if isBlocked != link.awaitsWriting || awaitsReading != link.awaitsReading {
            link.awaitsWriting = isBlocked
            link.awaitsReading = awaitsReading
            do throws(SystemError) {
                try poll.change(
                    link.connection.descriptor, token: link.token, readable: awaitsReading, writable: isBlocked)
            } catch {
                tell(.linkBroken(role, reason: error.description))
                return
            }
        }
        links[role] = link
    }

    private func descriptors(for key: DescriptorKey) -> [Descriptor] {
        switch key {
        case .output(let id): children[id]?.output ?? []
        case .held(let name): [held[name]].compactMap(\.self)
        case .balancerLink: [supervisorLinks[.balancer]].compactMap(\.self)
        case .webLink: [supervisorLinks[.web]].compactMap(\.self)
        }
    }
}
