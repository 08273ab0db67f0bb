// A server in a process of its own, for tests that kill or stop it: says everything back. Descriptor 3 is the listening
// socket; it ends when nobody has the other end of descriptor 4 open any more.
//
// Its connections end by a reset unless it has ended them itself (SO_LINGER without time), so that a kill can be told from
// an orderly end whatever was on its way.
import CPlatform
import Glibc

let capacity = 64 << 10

struct Client {
    let socket: Int32
    let buffer = UnsafeMutableRawPointer.allocate(byteCount: capacity, alignment: 16)
    /// What is to be said back still.
    var pending = 0..<0

    /// What is waited for: more, or room for what is to be said.
    var interest: Int16 { Int16(pending.isEmpty ? POLLIN : POLLOUT) }

    /// Does what is possible now. Returns whether there is more to come.
    mutating func handle() -> Bool {
        if pending.isEmpty {
            let received = supd_receive(socket, buffer, capacity, 0)
            if received == 0 { setLinger(false) }
            guard received > 0 else { return -received == Int(EAGAIN) }
            pending = 0..<received
        }
        let sent = supd_send(socket, buffer + pending.lowerBound, pending.count, 0)
        if sent < 0 { return -sent == Int(EAGAIN) }
        pending = pending.lowerBound + sent..<pending.upperBound
        return true
    }

    func setLinger(_ resets: Bool) {
        var value = linger(l_onoff: resets ? 1 : 0, l_linger: 0)
        setsockopt(socket, SOL_SOCKET, SO_LINGER, &value, socklen_t(MemoryLayout<linger>.size))
    }
}

var clients: [Client] = []
while true {
    var entries = [pollfd(fd: 3, events: Int16(POLLIN), revents: 0), pollfd(fd: 4, events: 0, revents: 0)]
    entries += clients.map { pollfd(fd: $0.socket, events: $0.interest, revents: 0) }
    guard poll(&entries, nfds_t(entries.count), -1) > 0 else { continue }
    if entries[1].revents != 0 { exit(0) }
    for index in clients.indices.reversed() where entries[index + 2].revents != 0 {
        if clients[index].handle() { continue }
        let client = clients.remove(at: index)
        close(client.socket)
        client.buffer.deallocate()
    }
    guard entries[0].revents != 0 else { continue }
    let socket = supd_accept(3)
    guard socket >= 0 else { continue }
    clients.append(Client(socket: socket))
    clients[clients.count - 1].setLinger(true)
}
