import Dispatch
import Glibc
import Links
import Platform
import Synchronization

package struct BalancerConfiguration { package init() {} }

package func runBalancer(_ configuration: BalancerConfiguration) -> Int32 {
    setProcessName("supd-balancer")
    let queue = DispatchQueue(label: "links")
    let keeper = LinkConnection(Descriptor(owning: 3)), supervisor = LinkConnection(Descriptor(owning: 4))
    let engine = BalancerEngine { notice in _ = try? supervisor.send(notice) }
    _ = try? keeper.send(KeeperRequest.hello(version: linkVersion))
    let a = DispatchSource.makeReadSource(fileDescriptor: 3, queue: queue)
    a.setEventHandler {
        while true {
            switch keeper.receive(KeeperNotice.self) {
            case .message(.ping, _): _ = try? keeper.send(KeeperRequest.pong)
            case .message: break
            case .wouldBlock: return
            case .closed, .malformed: exit(0)
            }
        }
    }
    let b = DispatchSource.makeReadSource(fileDescriptor: 4, queue: queue)
    b.setEventHandler {
        while true {
            switch supervisor.receive(BalancerRequest.self) {
            case .message(let m, let d): engine.receive(m, d)
            case .wouldBlock: return
            case .closed, .malformed: return
            }
        }
    }
    a.activate()
    b.activate()
    dispatchMain()
}
