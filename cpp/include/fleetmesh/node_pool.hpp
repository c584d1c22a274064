// Memory for the nodes of persistent maps: many blocks of one size, on large pages.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <mutex>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace fleetmesh {

// A change of a large mesh touches nodes all over it, and with small pages the look-up of each page
// costs as much as the node. Blocks are kept for reuse and never given back to the system.
template <std::size_t Size>
class NodePool {
 public:
  static void* allocate() {
    NodePool& pool = instance();
    const std::scoped_lock lock(pool.mutex_);
    if (!pool.free_) pool.grow();
    Block* block = pool.free_;
    pool.free_ = block->next;
    return block;
  }

  static void release(void* memory) {
    NodePool& pool = instance();
    const std::scoped_lock lock(pool.mutex_);
    auto* block = static_cast<Block*>(memory);
    block->next = pool.free_;
    pool.free_ = block;
  }

 private:
  union Block {
    Block* next;
    alignas(std::max_align_t) std::byte bytes[Size];
  };
  static constexpr std::size_t kPage = std::size_t{2} << 20;

  // Never destroyed: nodes of static objects may outlive any order of destruction.
  static NodePool& instance() {
    static auto* pool = new NodePool();
    return *pool;
  }

  void grow() {
    void* memory = std::aligned_alloc(kPage, kPage);
    if (!memory) throw std::bad_alloc();
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    (void)madvise(memory, kPage, MADV_HUGEPAGE);  // advice: without it all is only slower
#endif
    auto* blocks = static_cast<Block*>(memory);
    for (std::size_t i = kPage / sizeof(Block); i-- > 0;) {
      blocks[i].next = free_;
      free_ = &blocks[i];
    }
  }

  std::mutex mutex_;
  Block* free_ = nullptr;
};

}  // namespace fleetmesh
