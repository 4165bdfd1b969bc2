import EdgeTypes
import EdgeWire

/// What nodes tell the world, and ask of it.
extension World {
    func submitted(_ node: SimulatedNode, _ core: Int, _ bytes: UnsafeRawBufferPointer) {
        guard bytes.count > 0 else { return }
        histories[node.index].submit(node.index, core, bytes, end: node.cores[core].submitted)
    }

    func committed(_ node: SimulatedNode, _ core: Int, upTo position: UInt64) {
        histories[node.index].commit(node.index, core, upTo: position)
    }

    func bytes(of operation: Int) -> [UInt8] { clients.bytes(of: operation) }
}
