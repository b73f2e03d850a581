"""What every operator must satisfy: inherit, give an `objective` and an `oracle`, and get every law tested."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from landscape import Objective
from landscape.operators import LinearOperator


@pytest.mark.device
class OperatorContract:
    """Subclasses define the fixture `operator` (float64) and the fixture `dense`, its matrix from another source."""

    tolerance = 1e-12

    @staticmethod
    def block(operator: LinearOperator, columns: int) -> Tensor:
        generator = torch.Generator().manual_seed(7)
        block = torch.randn(operator.size, columns, generator=generator, dtype=operator.like.dtype)
        return block.to(operator.like.device)

    def test_it_equals_the_dense_matrix(self, operator: LinearOperator, dense: Tensor) -> None:
        assert torch.allclose(
            operator.to_dense().cpu(), dense.cpu(), rtol=0, atol=self.tolerance * float(dense.abs().max())
        )

    def test_it_is_symmetric(self, operator: LinearOperator) -> None:
        left, right = self.block(operator, 2).unbind(dim=1)
        assert float(left @ (operator @ right)) == pytest.approx(float(right @ (operator @ left)), rel=1e-10)

    def test_it_is_linear(self, operator: LinearOperator) -> None:
        left, right = self.block(operator, 2).unbind(dim=1)
        combined = operator @ (2 * left - 3 * right)
        assert torch.allclose(combined, 2 * (operator @ left) - 3 * (operator @ right), rtol=1e-10, atol=1e-12)

    def test_a_block_is_its_columns(self, operator: LinearOperator) -> None:
        block = self.block(operator, 3)
        columns = [operator @ column for column in block.unbind(dim=1)]
        assert torch.allclose(operator @ block, torch.stack(columns, dim=1), rtol=1e-12, atol=1e-14)

    def test_a_product_is_the_same_every_time(self, operator: LinearOperator) -> None:
        vector = self.block(operator, 1)[:, 0]
        assert torch.equal(operator @ vector, operator @ vector)

    def test_the_zero_vector_gives_zero(self, operator: LinearOperator) -> None:
        assert not (operator @ operator.like.new_zeros(operator.size)).any()

    def test_the_argument_is_left_alone_and_the_result_has_no_graph(self, operator: LinearOperator) -> None:
        vector = self.block(operator, 1)[:, 0]
        before = vector.clone()
        product = operator @ vector
        assert torch.equal(vector, before)
        assert not product.requires_grad

    @pytest.mark.parametrize("shape", [(3,), (3, 2), (1, 1, 1)], ids=["short", "short-block", "three-axes"])
    def test_a_wrong_shape_names_both_shapes(self, operator: LinearOperator, shape: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match=rf"\({operator.size}, {operator.size}\).*{shape[0]}"):
            operator @ operator.like.new_zeros(shape)

    def test_the_users_model_is_as_it_was(self, objective: Objective, operator: LinearOperator) -> None:
        model = objective.model
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        modes = [module.training for module in model.modules()]
        operator @ self.block(operator, 1)[:, 0]
        assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
        assert [module.training for module in model.modules()] == modes
        assert all(p.grad is None and p.requires_grad for p in model.parameters())
