//! A persistent B+ tree of chunks that counts its elements.
//!
//! Every large collection is one of these: a list is ordered by what was pushed where, a set by the hash of its members,
//! a sorted set by score. Nodes are reference-counted: a clone shares the root, a change copies only the nodes on its
//! path that are shared, so at most one chunk and a few branches. All leaves are equally deep. Elements are addressed by
//! rank; other orders bring their own [`Seek`], which reads the *fence* (a summary of the first element) that branches
//! keep for each child, so that a descent touches one node for each level.
//!
//! Costs with the constants below: 32 to 48 bytes of tree for each chunk, three levels for a million elements.

use std::sync::Arc;

/// Most children of a branch. Copying a shared branch counts a reference of every child, so wider is not better.
const MAX_CHILDREN: usize = 32;
/// A branch with fewer children than this, after losing some, is merged with a neighbour if they fit together.
const SPARSE_CHILDREN: usize = 10;

/// A leaf: some neighbouring elements.
pub(super) trait Chunk: Clone {
    /// Summary of a first element that a search can often decide by.
    type Fence: Copy;

    /// Number of elements.
    fn count(&self) -> usize;
    /// Summary of the first element; only called if there is one.
    fn fence(&self) -> Self::Fence;
    /// Whether so little is left that merging with a neighbour is worth a try.
    fn is_sparse(&self) -> bool;
    /// Whether all of `right`'s elements have room here.
    fn fits(&self, right: &Self) -> bool;
    /// Adds all of `right`'s elements behind the own ones.
    fn absorb(&mut self, right: &Self);
}

/// A way down the tree: picks one child at each level.
pub(super) trait Seek<C: Chunk> {
    /// The index of the child to go into; `children` is never empty.
    fn choose(&mut self, children: &[Child<C>]) -> usize;
}

/// One entry of a branch.
#[derive(Clone)]
pub(super) struct Child<C: Chunk> {
    count: usize,
    fence: C::Fence,
    node: Arc<Node<C>>,
}

#[derive(Clone)]
enum Node<C: Chunk> {
    Leaf(C),
    Branch(Vec<Child<C>>),
}

/// The tree. Cloning it counts one reference.
#[derive(Clone)]
pub(super) struct CountedTree<C: Chunk> {
    root: Option<Child<C>>,
}

impl<C: Chunk> Child<C> {
    fn leaf(chunk: C) -> Self {
        Self {
            count: chunk.count(),
            fence: chunk.fence(),
            node: Arc::new(Node::Leaf(chunk)),
        }
    }

    fn branch(children: Vec<Self>) -> Self {
        let count = children.iter().map(|child| child.count).sum();
        Self {
            count,
            fence: children[0].fence,
            node: Arc::new(Node::Branch(children)),
        }
    }

    /// Number of elements below.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Summary of the first element below.
    pub(super) fn fence(&self) -> C::Fence {
        self.fence
    }

    /// The first chunk below, for when the fence does not decide.
    pub(super) fn first_chunk(&self) -> &C {
        let mut node = &*self.node;
        loop {
            match node {
                Node::Leaf(chunk) => return chunk,
                Node::Branch(children) => node = &*children[0].node,
            }
        }
    }
}

impl<C: Chunk> Node<C> {
    fn is_sparse(&self) -> bool {
        match self {
            Self::Leaf(chunk) => chunk.is_sparse(),
            Self::Branch(children) => children.len() < SPARSE_CHILDREN,
        }
    }

    fn fits(&self, right: &Self) -> bool {
        match (self, right) {
            (Self::Leaf(left), Self::Leaf(right)) => left.fits(right),
            (Self::Branch(left), Self::Branch(right)) => left.len() + right.len() <= MAX_CHILDREN,
            _ => false,
        }
    }

    fn absorb(&mut self, right: &Self) {
        match (self, right) {
            (Self::Leaf(left), Self::Leaf(right)) => left.absorb(right),
            (Self::Branch(left), Self::Branch(right)) => left.extend_from_slice(right),
            _ => unreachable!("neighbours are of the same level"),
        }
    }
}

/// Goes to the element of a rank; afterwards `rank` is the offset inside the chunk (at most its count).
struct ByRank {
    rank: usize,
}

impl<C: Chunk> Seek<C> for ByRank {
    fn choose(&mut self, children: &[Child<C>]) -> usize {
        let last = children.len() - 1;
        for (index, child) in children[..last].iter().enumerate() {
            if self.rank < child.count {
                return index;
            }
            self.rank -= child.count;
        }
        last
    }
}

impl<C: Chunk> Default for CountedTree<C> {
    fn default() -> Self {
        Self::new()
    }
}

impl<C: Chunk> CountedTree<C> {
    pub(super) fn new() -> Self {
        Self { root: None }
    }

    /// Builds the tree bottom-up; none of the chunks may be empty.
    pub(super) fn from_chunks(chunks: Vec<C>) -> Self {
        let mut level: Vec<Child<C>> = chunks.into_iter().map(Child::leaf).collect();
        while level.len() > 1 {
            let branches = level.len().div_ceil(MAX_CHILDREN * 3 / 4);
            let (size, mut larger) = (level.len() / branches, level.len() % branches);
            let mut children = level.into_iter();
            level = Vec::with_capacity(branches);
            for _ in 0..branches {
                let take = size + usize::from(larger > 0);
                larger = larger.saturating_sub(1);
                level.push(Child::branch(children.by_ref().take(take).collect()));
            }
        }
        Self { root: level.pop() }
    }

    /// Number of elements.
    pub(super) fn len(&self) -> usize {
        self.root.as_ref().map_or(0, |root| root.count)
    }

    /// The chunk that `seek` leads to; `None` if there is not one.
    pub(super) fn find(&self, seek: &mut impl Seek<C>) -> Option<&C> {
        let mut node = &*self.root.as_ref()?.node;
        loop {
            match node {
                Node::Leaf(chunk) => return Some(chunk),
                Node::Branch(children) => node = &*children[seek.choose(children)].node,
            }
        }
    }

    /// The chunk of the element of this rank, and the element's offset in it. A rank at or past the end leads to the
    /// last chunk and an offset past its elements.
    pub(super) fn chunk_at(&self, rank: usize) -> Option<(&C, usize)> {
        let mut seek = ByRank { rank };
        let chunk = self.find(&mut seek)?;
        Some((chunk, seek.rank))
    }

    /// Changes the chunk that holds `rank` (at most `len()`, which leads behind the last element). `change` gets the
    /// chunk, the offset inside it, and a place for new chunks that shall follow it. It may leave the chunk empty.
    /// `None`, and no call, if the tree is empty.
    pub(super) fn edit<R>(
        &mut self,
        rank: usize,
        change: impl FnOnce(&mut C, usize, &mut Vec<C>) -> R,
    ) -> Option<R> {
        let by_rank =
            |chunk: &mut C, seek: &ByRank, added: &mut Vec<C>| change(chunk, seek.rank, added);
        self.edit_found(ByRank { rank }, by_rank)
    }

    /// Like [`CountedTree::edit`] for the chunk that `seek` leads to.
    pub(super) fn edit_found<S: Seek<C>, R>(
        &mut self,
        mut seek: S,
        change: impl FnOnce(&mut C, &S, &mut Vec<C>) -> R,
    ) -> Option<R> {
        let mut root = self.root.take()?;
        let (result, mut added) = edit_child(&mut root, &mut seek, change);
        if root.count > 0 {
            added.insert(0, root);
        }
        while added.len() > 1 {
            let mut children = std::mem::take(&mut added);
            added = split_children(&mut children);
            added.insert(0, Child::branch(children));
        }
        self.root = added.pop().map(without_single_branches);
        Some(result)
    }

    /// Puts a chunk behind all others.
    pub(super) fn push_chunk(&mut self, chunk: C) {
        if self.root.is_none() {
            self.root = Some(Child::leaf(chunk));
        } else {
            self.edit(self.len(), |_, _, added| added.push(chunk));
        }
    }

    /// All chunks in order.
    #[cfg(test)]
    pub(super) fn chunk_addresses(&self) -> Vec<*const C> {
        let mut addresses = Vec::new();
        let mut rank = 0;
        while rank < self.len() {
            let (chunk, _) = self.chunk_at(rank).expect("rank is below len");
            addresses.push(std::ptr::from_ref(chunk));
            rank += chunk.count();
        }
        addresses
    }
}

/// A branch with a single child is not needed as a root.
fn without_single_branches<C: Chunk>(mut root: Child<C>) -> Child<C> {
    loop {
        let only = match &*root.node {
            Node::Branch(children) if children.len() == 1 => children[0].clone(),
            _ => return root,
        };
        root = only;
    }
}

/// Returns what `change` returned, and the new right-hand siblings of `child`. A count of 0 afterwards asks the caller
/// to drop the child.
fn edit_child<C: Chunk, S: Seek<C>, R>(
    child: &mut Child<C>,
    seek: &mut S,
    change: impl FnOnce(&mut C, &S, &mut Vec<C>) -> R,
) -> (R, Vec<Child<C>>) {
    match Arc::make_mut(&mut child.node) {
        Node::Leaf(chunk) => {
            let mut added = Vec::new();
            let result = change(chunk, seek, &mut added);
            child.count = chunk.count();
            if child.count > 0 {
                child.fence = chunk.fence();
            }
            (result, added.into_iter().map(Child::leaf).collect())
        }
        Node::Branch(children) => {
            let index = seek.choose(children);
            let before = children[index].count;
            let (result, added) = edit_child(&mut children[index], seek, change);
            settle(children, index, before, added);
            let split = split_children(children);
            child.count = children.iter().map(|child| child.count).sum();
            if child.count > 0 {
                child.fence = children[0].fence;
            }
            (result, split)
        }
    }
}

/// Puts a branch in order after its child `index`, which had `before` elements, was changed and got new siblings.
fn settle<C: Chunk>(
    children: &mut Vec<Child<C>>,
    index: usize,
    before: usize,
    added: Vec<Child<C>>,
) {
    let after = children[index].count;
    let shrank = after < before && added.is_empty();
    if !added.is_empty() {
        children.splice(index + 1..index + 1, added);
    }
    if after == 0 {
        children.remove(index);
    } else if shrank && children[index].node.is_sparse() {
        let _merged =
            (index > 0 && merge_with_next(children, index - 1)) || merge_with_next(children, index);
    }
}

/// Moves the elements of the child after `index` into it, if they fit.
fn merge_with_next<C: Chunk>(children: &mut Vec<Child<C>>, index: usize) -> bool {
    let Some([left, right]) = children.get_mut(index..index + 2) else {
        return false;
    };
    if !left.node.fits(&right.node) {
        return false;
    }
    Arc::make_mut(&mut left.node).absorb(&right.node);
    left.count += right.count;
    children.remove(index + 1);
    true
}

/// Cuts an overfull branch into halves; returns the right one as a new sibling.
fn split_children<C: Chunk>(children: &mut Vec<Child<C>>) -> Vec<Child<C>> {
    if children.len() <= MAX_CHILDREN {
        return Vec::new();
    }
    vec![Child::branch(children.split_off(children.len() / 2))]
}
