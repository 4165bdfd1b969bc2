/// Creating three copies: nodes side by side in rows, as jobs on machines.
extension Layout {
    /// Lays all replicas of a region out in one line, node by node and zone by zone, cuts the line
    /// into `replicas` rows of one place a shard, and takes each column as a shard's copyset
    /// (McNaughton's wrap-around rule, 1959).
    ///
    /// Every node gets exactly its target. A node's run is no longer than a row, so it is in no
    /// column twice; a zone's is no longer than `zoneCap` rows, so neither is it in one more often.
    /// And a run lies beside two or three others in each other row, where weights are alike: four
    /// partners or so. Heavy nodes come first in their zones and so stand beside heavy ones.
    ///
    /// - Complexity: O(shards · replicas · partners).
    mutating func layRows(_ shards: [Int], region: Int, target: [Int]) {
        let ordered = serving[region].sorted { a, b in
            if nodes[a].zone != nodes[b].zone { return nodes[a].zone < nodes[b].zone }
            return target[a] == target[b] ? a < b : target[a] > target[b]
        }
        var line = ordered.flatMap { Array(repeating: $0, count: target[$0]) }
        precondition(line.count == shards.count * replicas)
        stagger(&line, rows: shards.count, nodes: ordered.count)
        for (column, shard) in shards.enumerated() {
            let members = NodeSet((0..<replicas).map { line[column + $0 * shards.count] })
            put(shard, region: region, members: members)
        }
    }

    /// Turns every row a part of a node's run, so that runs of equal length do not lie exactly
    /// beside each other, and a node has two partners in a row rather than one.
    ///
    /// Turned are pieces of a row in which no zone begins or ends, in any row: there every order is
    /// legal. A node that goes on in the next row keeps to pieces of its own in both.
    private func stagger(_ line: inout [Int], rows columns: Int, nodes count: Int) {
        var cuts = [0, columns]
        for place in line.indices.dropFirst()
        where nodes[line[place]].zone != nodes[line[place - 1]].zone {
            cuts.append(place % columns)
        }
        for row in 1..<replicas where line[row * columns] == line[row * columns - 1] {
            let node = line[row * columns]
            cuts.append((line.firstIndex(of: node) ?? 0) % columns)
            cuts.append(((line.lastIndex(of: node) ?? 0) + 1) % columns)
        }
        cuts.sort()
        let run = line.count / count
        for (low, high) in zip(cuts, cuts.dropFirst()) where high - low > 2 * run {
            for row in 1..<replicas {
                let part = Array(line[(row * columns + low)..<(row * columns + high)])
                let turn = row * run / replicas
                for (place, node) in part.enumerated() {
                    line[row * columns + low + (place + turn) % part.count] = node
                }
            }
        }
    }
}
