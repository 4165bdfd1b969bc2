/// What a name leads to.
enum VirtualNode {
    case file(VirtualFile)
    case folder(VirtualFolder)
}

/// A directory: names as they are seen, and as they would be found after a loss of power.
final class VirtualFolder {
    struct Entry {
        var name: String
        var node: VirtualNode
    }

    /// By name.
    private(set) var entries: [Entry] = []
    private var durable: [Entry] = []
    /// Since the last sync, in order.
    private var changes: [Change] = []
    private(set) weak var parent: VirtualFolder?

    private enum Change {
        case link(Entry)
        case unlink(String)
        /// One step: the new name is there, or the old one.
        case rename(String, Entry)
    }

    init(parent: VirtualFolder?) { self.parent = parent }

    subscript(name: String) -> VirtualNode? {
        let place = VirtualFolder.place(of: name, in: entries)
        return place.isThere ? entries[place.index].node : nil
    }

    func link(_ name: String, _ node: VirtualNode) { note(.link(Entry(name: name, node: node))) }

    func unlink(_ name: String) { note(.unlink(name)) }

    func rename(_ from: String, to name: String, _ node: VirtualNode) {
        note(.rename(from, Entry(name: name, node: node)))
    }

    private func note(_ change: Change) {
        changes.append(change)
        VirtualFolder.apply(change, to: &entries)
    }

    func sync() {
        guard !changes.isEmpty else { return }
        durable = entries
        changes.removeAll()
    }

    /// Power is lost: of the changes that were not synced, some have come about. File systems
    /// that keep their order are kinder; POSIX promises no more.
    func crash(_ draw: inout CrashDraw) {
        entries = durable
        for change in changes where draw.keepsName() {
            VirtualFolder.apply(change, to: &entries)
        }
        durable = entries
        changes.removeAll()
    }

    private static func apply(_ change: Change, to entries: inout [Entry]) {
        switch change {
        case .link(let entry): put(entry, into: &entries)
        case .unlink(let name): take(name, from: &entries)
        case .rename(let from, let entry):
            take(from, from: &entries)
            put(entry, into: &entries)
        }
    }

    private static func put(_ entry: Entry, into entries: inout [Entry]) {
        let place = place(of: entry.name, in: entries)
        if place.isThere {
            entries[place.index] = entry
        } else {
            entries.insert(entry, at: place.index)
        }
    }

    private static func take(_ name: String, from entries: inout [Entry]) {
        let place = place(of: name, in: entries)
        if place.isThere { entries.remove(at: place.index) }
    }

    private static func place(of name: String, in entries: [Entry])
        -> (index: Int, isThere: Bool)
    {
        var low = 0
        var high = entries.count
        while low < high {
            let middle = (low + high) / 2
            if entries[middle].name < name { low = middle + 1 } else { high = middle }
        }
        return (low, low < entries.count && entries[low].name == name)
    }
}
