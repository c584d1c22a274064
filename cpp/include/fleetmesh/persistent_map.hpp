// An ordered map whose copies share what they have in common.
//
// A B+ tree with reference-counted nodes. Copying a map is O(1); changing a copy clones only the
// nodes on the path that somebody else still holds, so a snapshot stays as it was, and a map that
// nobody shares is changed in place. Readers of one copy and the writer of another need no lock.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <utility>

#include "fleetmesh/node_pool.hpp"

namespace fleetmesh {

template <class Key, class Value, std::size_t LeafCapacity = 64, std::size_t Fanout = 32>
class PersistentMap {
  static_assert(LeafCapacity >= 4 && Fanout >= 4);

  struct Node {
    std::atomic<std::uint32_t> references{1};
    std::uint16_t size = 0;
    std::uint8_t room = 0;  // of a leaf, as an index of kRoom
    bool is_leaf;
    explicit Node(bool leaf) : is_leaf(leaf) {}
  };

  class Ref {
   public:
    Ref() = default;
    explicit Ref(Node* adopted) : node_(adopted) {}
    Ref(const Ref& other) : node_(other.node_) {
      if (node_) node_->references.fetch_add(1, std::memory_order_relaxed);
    }
    Ref(Ref&& other) noexcept : node_(std::exchange(other.node_, nullptr)) {}
    Ref& operator=(Ref other) noexcept {
      std::swap(node_, other.node_);
      return *this;
    }
    ~Ref() {
      if (node_ && node_->references.fetch_sub(1, std::memory_order_acq_rel) == 1) destroy(node_);
    }
    Node* get() const { return node_; }
    explicit operator bool() const { return node_ != nullptr; }
    bool unique() const { return node_->references.load(std::memory_order_acquire) == 1; }

   private:
    Node* node_ = nullptr;
  };

  // So many entries a leaf can have room for. A map of a few entries takes no more memory than they
  // need, and less is copied; all that there is room for is constructed.
  static constexpr std::array<std::size_t, 4> kRoom{std::max<std::size_t>(4, LeafCapacity / 8),
                                                    std::max<std::size_t>(4, LeafCapacity / 4),
                                                    std::max<std::size_t>(4, LeafCapacity / 2), LeafCapacity};

  static std::uint8_t room_for(std::size_t entries) {
    std::uint8_t room = 0;
    while (kRoom[room] < entries) ++room;
    return room;
  }

  static constexpr std::size_t rounded(std::size_t bytes, std::size_t alignment) {
    return (bytes + alignment - 1) / alignment * alignment;
  }

  // Its keys follow it in memory, and its values follow them.
  struct Leaf : Node {
    static constexpr std::size_t kKeys = rounded(sizeof(Node), alignof(Key));
    static constexpr std::size_t values_at(std::size_t room) {
      return rounded(kKeys + kRoom[room] * sizeof(Key), alignof(Value));
    }
    static constexpr std::size_t bytes(std::size_t room) {
      return values_at(room) + kRoom[room] * sizeof(Value);
    }

    explicit Leaf(std::uint8_t its_room) : Node(true) { this->room = its_room; }
    std::size_t capacity() const { return kRoom[this->room]; }
    Key* keys() { return reinterpret_cast<Key*>(reinterpret_cast<std::byte*>(this) + kKeys); }
    Value* values() {
      return reinterpret_cast<Value*>(reinterpret_cast<std::byte*>(this) + values_at(this->room));
    }

    // With room for `entries`; the first are those of `from`.
    static Leaf* make(std::size_t entries, Leaf* from = nullptr) {
      const std::uint8_t room = room_for(entries);
      Leaf* leaf = new (allocate(room)) Leaf(room);
      if (from) {
        std::uninitialized_copy_n(from->keys(), from->size, leaf->keys());
        std::uninitialized_copy_n(from->values(), from->size, leaf->values());
        leaf->size = from->size;
      }
      std::uninitialized_value_construct_n(leaf->keys() + leaf->size, leaf->capacity() - leaf->size);
      std::uninitialized_value_construct_n(leaf->values() + leaf->size, leaf->capacity() - leaf->size);
      return leaf;
    }

    static void destroy(Leaf* leaf) {
      std::destroy_n(leaf->keys(), leaf->capacity());
      std::destroy_n(leaf->values(), leaf->capacity());
      release(leaf, leaf->room);
    }

   private:
    static void* allocate(std::uint8_t room) { return pool(room).allocate(); }
    static void release(void* memory, std::uint8_t room) { pool(room).release(memory); }
    static NodePool& pool(std::uint8_t room) {
      static const std::array<NodePool*, kRoom.size()> pools{new NodePool(bytes(0)), new NodePool(bytes(1)),
                                                             new NodePool(bytes(2)), new NodePool(bytes(3))};
      return *pools[room];
    }
  };

  struct Inner : Node {
    Inner() : Node(false) {}
    std::array<Key, Fanout> first;  // the smallest key below each child
    std::array<Ref, Fanout> children;

    static void* operator new(std::size_t) { return pool().allocate(); }
    static void operator delete(void* memory) { pool().release(memory); }

   private:
    static NodePool& pool() {
      static auto* const pool = new NodePool(sizeof(Inner));
      return *pool;
    }
  };

  static void destroy(Node* node) {
    fetch_counts(node);
    if (node->is_leaf)
      Leaf::destroy(static_cast<Leaf*>(node));
    else
      delete static_cast<Inner*>(node);
  }

  static Leaf* leaf(Node* node) { return static_cast<Leaf*>(node); }
  static Inner* inner(Node* node) { return static_cast<Inner*>(node); }

  static void fetch(const void* from, std::size_t bytes) {
    constexpr std::size_t kLine = 64;
    for (std::size_t offset = 0; offset < bytes; offset += kLine)
      __builtin_prefetch(static_cast<const char*>(from) + offset);
    __asm__ volatile("");  // else gcc takes a function that only prefetches for one without effect
  }

  // Fetches the counts of references to all below the node, which copying and destroying it change.
  static void fetch_counts(Node* node) {
    if (!node->is_leaf) {
      for (std::size_t child = 0; child < node->size; ++child) fetch(inner(node)->children[child].get(), 1);
    } else if constexpr (requires(const Value& value) { value.prefetch_counts(); }) {
      for (std::size_t entry = 0; entry < node->size; ++entry) leaf(node)->values()[entry].prefetch_counts();
    }
  }

  static const Key& smallest(Node* node) {
    return node->is_leaf ? leaf(node)->keys()[0] : inner(node)->first[0];
  }

  // Which child of `node` holds `key`, if any does.
  static std::size_t child_of(const Inner* node, const Key& key) {
    const auto end = node->first.begin() + node->size;
    const auto after = std::upper_bound(node->first.begin() + 1, end, key);
    return static_cast<std::size_t>(after - node->first.begin()) - 1;
  }

  static std::size_t position_in(Leaf* node, const Key& key) {
    const Key* const keys = node->keys();
    return static_cast<std::size_t>(std::lower_bound(keys, keys + node->size, key) - keys);
  }

  // Makes the node behind `ref` ours alone, cloning it if it is shared, and a leaf if it has no room
  // for `entries`.
  static Node* own(Ref& ref, std::size_t entries = 0) {
    Node* old = ref.get();
    if (old->is_leaf) {
      if (ref.unique() && leaf(old)->capacity() >= entries) return old;
      ref = Ref(Leaf::make(std::max<std::size_t>(old->size, entries), leaf(old)));
    } else if (!ref.unique()) {
      auto copy = std::make_unique<Inner>();
      const auto* from = inner(old);
      std::copy_n(from->first.begin(), old->size, copy->first.begin());
      std::copy_n(from->children.begin(), old->size, copy->children.begin());
      copy->size = old->size;
      ref = Ref(copy.release());
    }
    return ref.get();
  }

  template <class Item>
  static void insert_at(Item* items, std::size_t size, std::size_t at, Item item) {
    std::move_backward(items + at, items + size, items + size + 1);
    items[at] = std::move(item);
  }

  template <class Item>
  static void erase_at(Item* items, std::size_t size, std::size_t at) {
    std::move(items + at + 1, items + size, items + at);
    items[size - 1] = {};
  }

  template <class Item>
  static void move_tail(Item* from, std::size_t size, std::size_t keep, Item* to) {
    std::move(from + keep, from + size, to);
    std::fill(from + keep, from + size, Item{});
  }

  // Where a full node is cut. Keys that arrive in order leave full nodes behind them.
  static std::size_t cut(std::size_t size, std::size_t at) { return at == size ? size : size / 2; }

  struct Inserted {
    Value* value = nullptr;
    bool is_new = false;
    Ref sibling;  // a new right neighbour of the node, if it had to be cut
  };

  static Inserted insert(Ref& ref, const Key& key) {
    return ref.get()->is_leaf ? insert_leaf(ref, key) : insert_inner(inner(own(ref)), key);
  }

  static Inserted insert_leaf(Ref& ref, const Key& key) {
    Inserted result;
    const std::size_t size = ref.get()->size;
    std::size_t at = position_in(leaf(ref.get()), key);
    result.is_new = at == size || key < leaf(ref.get())->keys()[at];
    if (!result.is_new) {
      result.value = leaf(own(ref))->values() + at;
      return result;
    }
    Leaf* target = leaf(own(ref, std::min(size + 1, LeafCapacity)));
    if (size == LeafCapacity) {
      Leaf* const node = target;
      const std::size_t keep = cut(LeafCapacity, at);
      Leaf* const right = Leaf::make(LeafCapacity - keep + 1);
      result.sibling = Ref(right);
      move_tail(node->keys(), LeafCapacity, keep, right->keys());
      move_tail(node->values(), LeafCapacity, keep, right->values());
      right->size = static_cast<std::uint16_t>(LeafCapacity - keep);
      node->size = static_cast<std::uint16_t>(keep);
      if (at >= keep && (at > keep || keep == LeafCapacity)) {
        target = right;
        at -= keep;
      }
    }
    insert_at(target->keys(), target->size, at, Key(key));
    insert_at(target->values(), target->size, at, Value{});
    ++target->size;
    result.value = target->values() + at;
    return result;
  }

  static Inserted insert_inner(Inner* node, const Key& key) {
    std::size_t at = child_of(node, key);
    if (key < node->first[0]) node->first[0] = key;
    Inserted result = insert(node->children[at], key);
    if (!result.sibling) return result;
    Ref child = std::move(result.sibling);
    result.sibling = Ref();
    ++at;
    Inner* target = node;
    if (node->size == Fanout) {
      auto right = std::make_unique<Inner>();
      const std::size_t keep = cut(Fanout, at);
      move_tail(node->first.data(), Fanout, keep, right->first.data());
      move_tail(node->children.data(), Fanout, keep, right->children.data());
      right->size = static_cast<std::uint16_t>(Fanout - keep);
      node->size = static_cast<std::uint16_t>(keep);
      if (at >= keep && (at > keep || keep == Fanout)) {
        target = right.get();
        at -= keep;
      }
      result.sibling = Ref(right.release());
    }
    insert_at(target->first.data(), target->size, at, Key(smallest(child.get())));
    insert_at(target->children.data(), target->size, at, std::move(child));
    ++target->size;
    return result;
  }

  static bool contains(Node* node, const Key& key) {
    while (!node->is_leaf) node = inner(node)->children[child_of(inner(node), key)].get();
    const std::size_t at = position_in(leaf(node), key);
    return at < node->size && !(key < leaf(node)->keys()[at]);
  }

  // Removes a key that is known to be there.
  static void remove(Ref& ref, const Key& key) {
    Node* node = own(ref);
    if (node->is_leaf) {
      const std::size_t at = position_in(leaf(node), key);
      erase_at(leaf(node)->keys(), node->size, at);
      erase_at(leaf(node)->values(), node->size, at);
      --node->size;
      return;
    }
    Inner* here = inner(node);
    const std::size_t at = child_of(here, key);
    remove(here->children[at], key);
    Node* child = here->children[at].get();
    if (child->size == 0) {
      erase_at(here->first.data(), here->size, at);
      erase_at(here->children.data(), here->size, at);
      --here->size;
      return;
    }
    here->first[at] = smallest(child);
    if (at + 1 < here->size)
      join_children(here, at);
    else if (at > 0)
      join_children(here, at - 1);
  }

  // Moves the right one of two thin neighbours into the left one.
  static void join_children(Inner* node, std::size_t at) {
    const Node* left = node->children[at].get();
    const Node* right = node->children[at + 1].get();
    const std::size_t capacity = left->is_leaf ? LeafCapacity : Fanout;
    const std::size_t both = static_cast<std::size_t>(left->size) + right->size;
    if (both > capacity / 2) return;
    Node* into = own(node->children[at], both);
    Node* from = own(node->children[at + 1]);
    const std::size_t offset = into->size;
    if (into->is_leaf) {
      std::move(leaf(from)->keys(), leaf(from)->keys() + from->size, leaf(into)->keys() + offset);
      std::move(leaf(from)->values(), leaf(from)->values() + from->size, leaf(into)->values() + offset);
    } else {
      std::move(inner(from)->first.begin(), inner(from)->first.begin() + from->size,
                inner(into)->first.begin() + offset);
      std::move(inner(from)->children.begin(), inner(from)->children.begin() + from->size,
                inner(into)->children.begin() + offset);
    }
    into->size = static_cast<std::uint16_t>(both);
    erase_at(node->first.data(), node->size, at + 1);
    erase_at(node->children.data(), node->size, at + 1);
    --node->size;
  }

 public:
  // Walks the entries in order of keys. Valid while the map it came from is not changed.
  class Cursor {
   public:
    explicit operator bool() const { return depth_ > 0; }
    const Key& key() const { return leaf(top().node)->keys()[top().at]; }
    const Value& value() const { return leaf(top().node)->values()[top().at]; }

    void next() {
      ++stack_[depth_ - 1].at;
      settle();
    }

   private:
    friend class PersistentMap;
    struct Step {
      Node* node;
      std::size_t at;
    };
    const Step& top() const { return stack_[depth_ - 1]; }
    void push(Node* node, std::size_t at) {
      assert(depth_ < stack_.size());
      stack_[depth_++] = {node, at};
    }

    // Leaves exhausted nodes and goes down to a leaf entry.
    void settle() {
      while (depth_ > 0 && top().at == top().node->size) {
        --depth_;
        if (depth_ > 0) ++stack_[depth_ - 1].at;
      }
      if (depth_ > 0) descend();
    }

    void descend() {
      while (!top().node->is_leaf) push(inner(top().node)->children[top().at].get(), 0);
    }

    // The largest subtree that begins exactly here, counted in levels above the leaf; its node.
    Node* subtree(std::size_t level) const {
      if (level >= depth_) return nullptr;
      for (std::size_t i = depth_ - 1 - level; i < depth_; ++i)
        if (stack_[i].at != 0) return nullptr;
      return stack_[depth_ - 1 - level].node;
    }

    void skip(std::size_t level) {
      depth_ -= level;
      stack_[depth_ - 1].at = stack_[depth_ - 1].node->size;
      settle();
    }

    std::array<Step, 16> stack_;
    std::size_t depth_ = 0;
  };

  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

  const Value* find(const Key& key) const {
    Node* node = root_.get();
    if (!node) return nullptr;
    while (!node->is_leaf) node = inner(node)->children[child_of(inner(node), key)].get();
    const std::size_t at = position_in(leaf(node), key);
    if (at == node->size || key < leaf(node)->keys()[at]) return nullptr;
    return leaf(node)->values() + at;
  }

  // The value of `key`, made by default if there was none; ours to change until the next change.
  Value& operator[](const Key& key) {
    if (!root_) root_ = Ref(Leaf::make(1));
    Inserted result = insert(root_, key);
    if (result.is_new) ++size_;
    if (result.sibling) {
      auto top = std::make_unique<Inner>();
      top->first[0] = smallest(root_.get());
      top->first[1] = smallest(result.sibling.get());
      top->children[0] = std::move(root_);
      top->children[1] = std::move(result.sibling);
      top->size = 2;
      root_ = Ref(top.release());
    }
    return *result.value;
  }

  bool erase(const Key& key) {
    if (!root_ || !contains(root_.get(), key)) return false;
    remove(root_, key);
    --size_;
    if (root_.get()->size == 0) {
      root_ = Ref();
      return true;
    }
    while (!root_.get()->is_leaf && root_.get()->size == 1) {
      Ref only = inner(root_.get())->children[0];
      root_ = std::move(only);
    }
    return true;
  }

  Cursor begin() const {
    Cursor cursor;
    if (root_) {
      cursor.push(root_.get(), 0);
      cursor.descend();
    }
    return cursor;
  }

  // The first entry whose key is not less than `key`.
  Cursor lower_bound(const Key& key) const {
    Cursor cursor;
    Node* node = root_.get();
    if (!node) return cursor;
    while (!node->is_leaf) {
      const std::size_t at = child_of(inner(node), key);
      cursor.push(node, at);
      node = inner(node)->children[at].get();
    }
    cursor.push(node, position_in(leaf(node), key));
    cursor.settle();
    return cursor;
  }

  // Fetches what lies on the way to several keys, so that the waits for memory overlap. A change of
  // one of them soon after finds its nodes in the cache; nothing else comes of it.
  template <std::size_t Count>
  void prefetch(const std::array<Key, Count>& keys, std::size_t count) const {
    if (!root_) return;
    std::size_t levels = 0;  // of inner nodes; all leaves are on one level
    for (Node* node = root_.get(); !node->is_leaf; node = inner(node)->children[0].get()) ++levels;
    std::array<Node*, Count> at;
    at.fill(root_.get());
    for (; levels > 0; --levels)
      for (std::size_t i = 0; i < count; ++i) {
        fetch_counts(at[i]);
        at[i] = inner(at[i])->children[child_of(inner(at[i]), keys[i])].get();
        fetch(at[i], levels > 1 ? sizeof(Inner) : Leaf::bytes(kRoom.size() - 1));
      }
    for (std::size_t i = 0; i < count; ++i) fetch_counts(at[i]);
  }

  // Fetches the topmost node, all of it if it is a leaf of few entries.
  void prefetch_top() const {
    if (root_) fetch(root_.get(), Leaf::bytes(1));
  }

  // Fetches the count of references that copying the map, or dropping a copy, changes.
  void prefetch_counts() const {
    if (root_) fetch(root_.get(), 1);
  }

  // Calls `changed(key)` for each key that only one side has or whose values differ by `same`.
  // Costs what the two do not share.
  template <class Same, class Changed>
  static void compare(const PersistentMap& a, const PersistentMap& b, Same same, Changed changed) {
    Cursor x = a.begin();
    Cursor y = b.begin();
    while (x && y) {
      if (skip_shared(x, y)) continue;
      if (x.key() < y.key()) {
        changed(x.key());
        x.next();
      } else if (y.key() < x.key()) {
        changed(y.key());
        y.next();
      } else {
        if (!same(x.value(), y.value())) changed(x.key());
        x.next();
        y.next();
      }
    }
    for (; x; x.next()) changed(x.key());
    for (; y; y.next()) changed(y.key());
  }

 private:
  static bool skip_shared(Cursor& x, Cursor& y) {
    std::size_t shared = 0;
    bool found = false;
    for (std::size_t level = 0;; ++level) {
      Node* left = x.subtree(level);
      Node* right = y.subtree(level);
      if (!left || !right) break;
      if (left == right) {
        shared = level;
        found = true;
      }
    }
    if (!found) return false;
    x.skip(shared);
    y.skip(shared);
    return true;
  }

  Ref root_;
  std::size_t size_ = 0;
};

}  // namespace fleetmesh
